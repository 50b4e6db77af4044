// One live stream with WebAssembly, in a browser or in Node: npm install onnxruntime-web
// node stream_web.mjs model.stream.onnx
import { readFile } from "node:fs/promises"; // in a browser: InferenceSession.create("model.stream.onnx")
import { InferenceSession, Tensor } from "onnxruntime-web";

const session = await InferenceSession.create(await readFile(process.argv[2]), { executionProviders: ["wasm"] });
const [numFeatures, stateSize] = [session.inputMetadata[0].shape[2], session.inputMetadata[2].shape[1]];
let state = new Tensor("float32", new Float32Array(stateSize), [1, stateSize]); // zero before the first step
for (let time = 0; time < 5; time++) {
  const step = new Tensor("float32", Float32Array.from({ length: numFeatures }, () => Math.sin(time)), [1, 1, numFeatures]);
  const answer = await session.run({ steps: step, lengths: new Tensor("int64", [1n], [1]), state });
  state = answer.new_state;
  console.log(Array.from(answer.probabilities.data).map((value) => value.toFixed(6)).join(" "));
}
