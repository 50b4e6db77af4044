import pytest

from flows.repository.project import is_same_repository, project_name
from rnnflow.runtime.errors import InputError


@pytest.mark.parametrize(
    ("repository", "product", "name"),
    [
        ("https://git.example.com/team/Gestures_EU.git", ".", "gestures-eu"),
        ("git@git.example.com:gestures.git", ".", "gestures"),
        ("/srv/git/gestures/", "products/left hand", "gestures-left-hand"),
    ],
)
def test_a_project_is_called_like_its_repository_and_a_product_like_its_folder_as_well(
    repository: str, product: str, name: str
) -> None:
    assert project_name(repository, product) == name


def test_a_repository_without_a_usable_name_needs_one_in_the_settings() -> None:
    with pytest.raises(InputError, match=r"set `project:` in flows/settings\.yaml"):
        project_name("/srv/git/☃")


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("https://git.example.com/team/a.git", "git@git.example.com:team/a.git", True),
        ("ssh://git@git.example.com:2222/team/a", "https://git.example.com/team/a/", True),
        ("https://git.example.com/team/a.git", "https://git.example.com/other/a.git", False),
        ("/srv/git/a.git", "/srv/git/b.git", False),
    ],
)
def test_one_repository_is_known_by_any_of_its_addresses(one: str, other: str, is_same: bool) -> None:
    assert is_same_repository(one, other) is is_same
