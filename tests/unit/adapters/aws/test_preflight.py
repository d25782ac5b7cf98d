"""What AWS clients take from the environment and from AWS's files."""

from __future__ import annotations

from botocore.exceptions import ConfigParseError, ProfileNotFound

from vortex.adapters.aws import preflight as surroundings


def test_is_region_accepts_existing_and_future_regions() -> None:
    """In every partition of AWS; a new number is accepted."""
    for name in ("eu-central-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1", "ap-southeast-19"):
        assert surroundings.is_region(name)
    for name in ("mars-north-1", "xx-nowhere-1", "eu-central"):
        assert not surroundings.is_region(name)


def test_blamed_names_the_variables_with_the_value_and_no_secret_ones() -> None:
    """By whole words."""
    environ = {"AWS_PROFILE": "x", "AWS_SECRET_ACCESS_KEY": "mode", "AWS_ACCESS_KEY_ID": "bad", "AWS_RETRY_MODE": "fo"}
    assert surroundings.blamed(ValueError("bad mode 'fo',\n not x"), environ) == (
        "AWS_PROFILE, AWS_RETRY_MODE: bad mode 'fo', not x"
    )
    assert surroundings.blamed(ValueError("bad mode foo"), environ).startswith("the AWS configuration (AWS_CONFIG_FILE")


def test_blamed_names_the_variable_whose_value_the_error_leaves_out() -> None:
    """A URL that cannot be read, and an empty profile."""
    environ = {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[",
        "AWS_ENDPOINT_URL": "http://host:9000",
        "AWS_PROFILE": "",
    }
    said = surroundings.blamed(ValueError("Invalid IPv6 URL"), environ)
    assert said == "AWS_EC2_METADATA_SERVICE_ENDPOINT: Invalid IPv6 URL"
    assert surroundings.blamed(ProfileNotFound(profile=""), environ).startswith("AWS_PROFILE: ")


def test_blamed_says_what_a_configuration_file_has_when_it_cannot_be_parsed() -> None:
    said = surroundings.blamed(ConfigParseError(path="/x/config"), {"AWS_CONFIG_FILE": "/x/config"})
    assert said.startswith("AWS_CONFIG_FILE: Unable to parse config file: /x/config; write `key = value` lines below ")
