"""The model card: a README in Markdown whose head Hugging Face reads, made of what was measured.

Source: https://huggingface.co/docs/hub/model-cards, section "Evaluation results".
"""

from rnnflow.evaluation.report import sections
from rnnflow.evaluation.report.page import ENVIRONMENT
from rnnflow.evaluation.report.results import Results


def markdown(results: Results) -> str:
    """Return the card of the challenger."""
    model = results.challenger
    names = [name for name in sections.metrics(results) if model.metrics.get(name) is not None]
    return ENVIRONMENT.get_template("model_card.md").render(
        model=model,
        metadata=model.predictor.metadata,
        verdict=results.verdict,
        profile=results.profile,
        metrics=names,
        figures=dict(sections.columns(results))[model.name],
        weaknesses=sections.weaknesses(results),
    )
