import re
from pathlib import Path

import pytest

from tertulia.cli.serve import serve
from tertulia.domain.provider_types import PROVIDER_TYPES, ProviderType
from tertulia.settings import Settings, variable_names

README = Path(__file__).parents[2] / "README.md"
ROWS = {
    variable: (option, default)
    for variable, option, default in re.findall(r"^\| `(\w+)` \|(.*?)\|(.*?)\|", README.read_text(), re.MULTILINE)
}
FIELDS = [name for name in Settings.model_fields if name != "provider_variables"]


@pytest.mark.parametrize("row", PROVIDER_TYPES, ids=lambda row: row.name)
def test_every_type_of_provider_is_told_with_what_to_set(row: ProviderType) -> None:
    how = f"`{row.login}`" if row.login else ", ".join(f"`{name}`" for name in row.needs)
    assert f"| {row.title} | {how} | `{row.name}/<model>` |" in README.read_text()


@pytest.mark.parametrize("field_name", FIELDS)
def test_every_setting_has_a_row_under_one_of_its_names(field_name: str) -> None:
    assert any(name in ROWS for name in variable_names(field_name))


def test_every_row_is_a_setting() -> None:
    known = {name for field_name in Settings.model_fields for name in variable_names(field_name)}
    assert set(ROWS) <= known


def test_every_option_is_in_its_setting_s_row() -> None:
    options = {f"TERTULIA_{parameter.name}".upper(): parameter.opts[0] for parameter in serve.params}
    assert {variable: option.strip(" `") for variable, (option, _) in ROWS.items() if option.strip()} == options


@pytest.mark.parametrize("field_name", FIELDS)
def test_the_defaults_are_true(field_name: str) -> None:
    default = Settings.model_fields[field_name].default
    told = next(ROWS[name][1].strip(" `") for name in variable_names(field_name) if name in ROWS)
    if default in (None, {}, ()):
        assert told in {
            "none",
            "the model's own",
            "the model's own, at most 8192",
            "tertulia.db` in the data directory",
        } or told.startswith("https://")
    else:
        assert told == str(default)
