"""YAML that is read, changed and written again."""

import io

from dvc.utils.serialize import dumps_yaml

from rnnflow.runtime.yaml_text import round_trip

TEXT = """\
# sizes
model:
  size: 3  # small
  stem: null
  cell: 'lstm'
"""


def test_what_is_not_changed_stays_as_it_was() -> None:
    yaml = round_trip()
    content = yaml.load(TEXT)
    content["model"]["size"] = None
    stream = io.StringIO()
    yaml.dump(content, stream)
    assert stream.getvalue() == TEXT.replace("3  #", "null #")


def test_what_dvc_writes_by_the_same_library_is_left_alone() -> None:
    round_trip()
    assert dumps_yaml({"stem": None}) == "stem:\n"
