import pytest

from flows.redaction import redacted


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("https://token@host.example/x", "https://host.example/x"),
        (
            "push: cannot reach http://user:word@host:4200/api (refused)",
            "push: cannot reach http://host:4200/api (refused)",
        ),
        ("webdavs://me:word@host/a and s3://bucket/a", "webdavs://host/a and s3://bucket/a"),
        ("postgresql+asyncpg://prefect:word@db/prefect", "postgresql+asyncpg://prefect@db/prefect"),
        ("http://host/api?api_key=word&page=2: refused", "http://host/api?api_key=…&page=2: refused"),
        ("ssh://git:word@host.example/x", "ssh://git@host.example/x"),
    ],
)
def test_tokens_and_passwords_are_taken_out_of_addresses(told: str, meant: str) -> None:
    assert redacted(told) == meant


@pytest.mark.parametrize(
    "text",
    [
        "ssh://git@host.example/x",
        "git@host.example:x",
        "https://host.example/a@b",
        "reader@example.com: 3:4@5",
        "http://host/x?page=2",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text
