"""YAML as people edit it: what is written again keeps its comments, its order and its quotes."""

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter, SafeRepresenter


class _Representer(RoundTripRepresenter):
    """Writes `null` where the default leaves a blank.

    A class of its own: a representer registers for its whole class, and DVC writes `dvc.lock` by the default one.
    """


_Representer.add_representer(type(None), SafeRepresenter.represent_none)


def round_trip() -> YAML:
    """Return a reader and writer of YAML that keeps what it does not change."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width, yaml.preserve_quotes = 1000, True
    return yaml
