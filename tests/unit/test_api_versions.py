"""The version of the API that is asked for."""

import pytest

from worker.connectwise.api_version import MAX_TRIED, ApiVersions


@pytest.mark.parametrize(
    ("taken", "asked"), [(None, "2025.8"), ("2024.12", "2024.12"), ("2025.16", "2025.8"), ("2026.1", "2025.8")]
)
def test_an_older_version_that_was_taken_is_asked_for_again(taken: str | None, asked: str) -> None:
    """A newer one than the setting's never is: an operator who lowers the setting is heard."""
    assert ApiVersions("2025.8", taken).current == asked


def test_the_newest_that_is_named_and_not_newer_than_the_setting_is_asked_for() -> None:
    """Years and releases are compared as numbers; what was refused is not asked for again."""
    versions = ApiVersions("2025.16", None)
    assert versions.switch(["2025.16", "2026.1", "2025.8", "2025.12", "2024.3"])
    assert versions.current == "2025.12"
    assert versions.switch(["2025.8", "2025.12"])
    assert versions.current == "2025.8"
    assert not versions.switch(["2025.16", "2025.12", "2025.8", "2026.1"])


def test_an_older_version_that_has_run_out_makes_way_for_the_settings() -> None:
    """A server that was upgraded and takes the older one no more need not name the setting's."""
    versions = ApiVersions("2025.8", "2023.1")
    assert versions.switch([])
    assert versions.current == "2025.8"


def test_a_server_that_names_ever_older_versions_is_not_asked_for_ever() -> None:
    """Each costs a request."""
    versions = ApiVersions("2025.8", None)
    asked = 1
    while versions.switch([f"2024.{12 - asked}"]):
        asked += 1
    assert asked == MAX_TRIED
