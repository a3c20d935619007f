"""Names, tags, keys and free text: what is let in."""

import pytest

from app.domain import server_spec

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHfn0dCHFYOXXVFBkmKfEPhRl+0oFsyQy0PuTUcFTLiQ dana@laptop"


@pytest.mark.parametrize("name", ["web", "a", "0", "web-1", "x" * 63])
def test_host_names_are_names(name: str) -> None:
    assert server_spec.name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "count", "code"),
    [
        ("", 1, "name_empty"), ("Web", 1, "name_not_hostname"), ("-web", 1, "name_not_hostname"), ("web-", 1, "name_not_hostname"),
        ("a.b", 1, "name_not_hostname"), ("a b", 1, "name_not_hostname"), ("wéb", 1, "name_not_hostname"), ("${x}", 1, "name_not_hostname"),
        ("<b>", 1, "name_not_hostname"), ('"', 1, "name_not_hostname"), ("a\nb", 1, "name_not_hostname"), ("web\n", 1, "name_not_hostname"),
        ("x" * 64, 1, "name_too_long"), ("x" * 61, 10, "name_too_long"), ("x" * 60, 100, "name_too_long"),
    ],
)  # fmt: skip
def test_anything_else_is_told_what_is_wrong(name: str, count: int, code: str) -> None:
    assert server_spec.name_fault(name, count) == code


def test_a_batch_is_numbered_from_one_and_a_single_server_is_not() -> None:
    assert server_spec.batch_names("web", 1) == ["web"]
    assert server_spec.batch_names("web", 3) == ["web-1", "web-2", "web-3"]


@pytest.mark.parametrize("tag", ["a", "prod", "team_x", "v1.2", "a+b", "x" * 32])
def test_tags_of_proxmox_are_tags(tag: str) -> None:
    assert server_spec.tag_fault(tag) is None


@pytest.mark.parametrize("tag", ["", "A", "a b", "-a", "a;b", "<b>", "태그", "x" * 33, "a\n"])
def test_other_tags_are_refused(tag: str) -> None:
    assert server_spec.tag_fault(tag) == "bad_tag"


def test_a_public_key_is_recognised_by_its_body() -> None:
    assert server_spec.ssh_key_fault(KEY) is None
    assert server_spec.ssh_key_fault(KEY.rpartition(" ")[0]) is None


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", "hello world", KEY.replace("ssh-ed25519", "ssh-rsa"), KEY[:40], KEY.replace("AAAAC3", "!!!!C3"), KEY + "\x07",
     "-----BEGIN OPENSSH PRIVATE KEY-----"],
)  # fmt: skip
def test_anything_else_is_no_key(line: str) -> None:
    assert server_spec.ssh_key_fault(line) == "bad_ssh_key"


@pytest.mark.parametrize("text", ["", "plain", "two\nlines\tand a tab", "<script>", "${x} %{y} {{7*7}}", "한국어 🙂", "'\"`\\"])
def test_free_text_may_hold_anything_that_can_be_shown(text: str) -> None:
    assert server_spec.text_fault(text, 4096) is None


@pytest.mark.parametrize(("text", "code"), [("x" * 5000, "text_too_long"), ("é" * 2049, "text_too_long"), ("a\x00b", "text_control_characters"),
                                             ("\x1b[31m", "text_control_characters"), ("\ud800", "text_control_characters")])  # fmt: skip
def test_text_that_cannot_be_stored_or_shown_is_refused(text: str, code: str) -> None:
    assert server_spec.text_fault(text, 4096) == code
