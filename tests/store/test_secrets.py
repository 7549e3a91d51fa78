"""Encryption at rest: keys from the settings, and the one that is made beside the data."""

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tertulia.domain.errors import InvalidArgument, SecretUnreadable
from tertulia.store.secrets import CallbackSecret, FernetSecrets, load_key

OLD, NEW = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def test_what_is_sealed_is_opened_again_and_shows_nothing(tmp_path: Path) -> None:
    secrets = FernetSecrets([NEW], tmp_path / "secret.key")
    sealed = secrets.seal(b"sk-very-secret")
    assert "very" not in sealed
    assert secrets.unseal(sealed) == b"sk-very-secret"
    assert not (tmp_path / "secret.key").exists()


def test_a_key_is_made_when_it_is_first_needed_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    secrets = FernetSecrets([], path)
    with pytest.raises(SecretUnreadable, match="is not here"):
        secrets.unseal("gAAAAA")
    assert not path.exists()
    sealed = secrets.seal(b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert FernetSecrets([], path).unseal(sealed) == b"x"


def test_processes_that_start_together_end_with_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    # The lock is the open file's, so threads are to each other what processes are.
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(load_key, [path] * 32))
    assert set(keys) == {path.read_text()}


def test_a_file_that_was_cut_off_before_the_key_was_written_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.touch()
    assert load_key(path) == path.read_text() != ""


def test_a_file_that_holds_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    path.write_text("my shopping list")
    with pytest.raises(InvalidArgument, match="does not hold a key"):
        FernetSecrets([], path).seal(b"x")
    assert path.read_text() == "my shopping list"


def test_several_keys_open_what_each_has_sealed_and_the_first_one_seals() -> None:
    old = FernetSecrets([OLD], None).seal(b"x")
    both = FernetSecrets([NEW, OLD], None)
    assert both.unseal(old) == b"x"
    assert both.outdated(old)
    new = both.seal(b"x")
    assert not both.outdated(new)
    assert FernetSecrets([NEW], None).unseal(new) == b"x"


def test_what_was_sealed_before_there_were_settings_is_still_opened(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    before = FernetSecrets([], path)
    sealed = before.seal(b"x")
    assert not before.outdated(sealed)
    after = FernetSecrets([NEW], path)
    assert after.unseal(sealed) == b"x"
    assert after.outdated(sealed)


@pytest.mark.parametrize("sealed", ["", "gAAAAA", "not base64 at all ☕"])
def test_damage_is_told(sealed: str) -> None:
    with pytest.raises(SecretUnreadable, match="is damaged"):
        FernetSecrets([NEW], None).unseal(sealed)


def test_another_key_is_told() -> None:
    with pytest.raises(SecretUnreadable, match="TERTULIA_SECRET_KEY takes several"):
        FernetSecrets([NEW], None).unseal(FernetSecrets([OLD], None).seal(b"x"))


def test_without_a_place_for_a_key_nothing_is_sealed() -> None:
    with pytest.raises(InvalidArgument, match="Set TERTULIA_SECRET_KEY"):
        FernetSecrets([], None).seal(os.urandom(8))


def test_a_key_that_may_only_be_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    key = load_key(path)
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    assert load_key(path) == key


def test_a_key_that_cannot_be_kept_is_said_with_the_variable_that_spares_it(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    secrets = FernetSecrets([], tmp_path / "data" / "secret.key")
    with pytest.raises(InvalidArgument, match="TERTULIA_SECRET_KEY"):
        secrets.seal(b"x")


def test_the_secret_of_callbacks_is_made_when_the_first_is_signed_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "callback.key"
    secret = CallbackSecret(None, path)
    assert not path.parent.exists()
    assert secret() == secret() == CallbackSecret(None, path)() == path.read_bytes()
    assert len(secret()) == 64
    assert path.stat().st_mode & 0o077 == 0


def test_callbacks_that_the_api_key_signs_need_no_file(tmp_path: Path) -> None:
    assert CallbackSecret("the key", tmp_path / "callback.key")() == b"the key"
    assert list(tmp_path.iterdir()) == []


def test_a_secret_of_callbacks_that_cannot_be_kept_is_said_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(InvalidArgument, match="TERTULIA_API_KEY"):
        CallbackSecret(None, tmp_path / "data" / "callback.key")()
