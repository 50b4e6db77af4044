// One live stream in C++, with the headers and the library of onnxruntime:
// c++ -std=c++17 -I onnxruntime/include stream.cpp -L onnxruntime/lib -lonnxruntime -o stream && ./stream model.stream.onnx
#include <onnxruntime_cxx_api.h>

#include <cmath>
#include <cstdio>
#include <vector>

int main(int, char **arguments)
{
    Ort::Env env;
    Ort::Session session(env, arguments[1], Ort::SessionOptions());
    auto shape = [&](size_t input) { return session.GetInputTypeInfo(input).GetTensorTypeAndShapeInfo().GetShape(); };
    const int64_t num_features = shape(0)[2], state_size = shape(2)[1], one = 1;
    const int64_t of_steps[] = {1, 1, num_features}, of_state[] = {1, state_size};
    const char *inputs[] = {"steps", "lengths", "state"}, *outputs[] = {"probabilities", "new_state"};
    int64_t length = 1;
    std::vector<float> step(num_features), state(state_size); // zero before the first step
    Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    for (int time = 0; time < 5; time++) {
        step.assign(num_features, std::sin(float(time)));
        Ort::Value given[] = {Ort::Value::CreateTensor(memory, step.data(), step.size(), of_steps, 3),
                              Ort::Value::CreateTensor(memory, &length, 1, &one, 1),
                              Ort::Value::CreateTensor(memory, state.data(), state.size(), of_state, 2)};
        auto answer = session.Run(Ort::RunOptions(), inputs, given, 3, outputs, 2);
        state.assign(answer[1].GetTensorData<float>(), answer[1].GetTensorData<float>() + state_size);
        for (size_t index = 0; index < answer[0].GetTensorTypeAndShapeInfo().GetElementCount(); index++)
            std::printf("%.6f ", answer[0].GetTensorData<float>()[index]);
        std::printf("\n");
    }
}
