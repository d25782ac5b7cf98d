"""Names of credential sources, and why they fail, for messages that quote nothing of what a source returned.

Where a setting is wrong, the message names it, and the variable that may hold it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionError,
    ConnectTimeoutError,
    HTTPClientError,
    InvalidChecksumConfigError,
    InvalidConfigError,
    InvalidDefaultsMode,
    InvalidIMDSEndpointError,
    InvalidIMDSEndpointModeError,
    InvalidRegionError,
    InvalidRetryConfigurationError,
    InvalidSTSRegionalEndpointsConfigError,
    LoginError,
    MissingDependencyException,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    RefreshWithMFAUnsupportedError,
    SSLError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.session import Session
from urllib3.exceptions import LocationValueError

from vortex.config.quoting import shortened

_LONGEST = 300
"""Characters of a reason."""
_OF_CONFIGURATION = (
    ConfigNotFound,
    ConfigParseError,
    InvalidChecksumConfigError,
    InvalidConfigError,
    InvalidDefaultsMode,
    InvalidIMDSEndpointError,
    InvalidIMDSEndpointModeError,
    InvalidRegionError,
    InvalidRetryConfigurationError,
    InvalidSTSRegionalEndpointsConfigError,
    MissingDependencyException,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    RefreshWithMFAUnsupportedError,
    UnknownCredentialError,
)
"""Their messages name profiles, settings and files, and quote no secrets."""
_OF_SESSIONS = (SSOError, TokenRetrievalError, LoginError)
_PARAMETERS = {
    "RoleArn": "role_arn (AWS_ROLE_ARN)",
    "RoleSessionName": "role_session_name (AWS_ROLE_SESSION_NAME)",
    "ExternalId": "external_id",
    "DurationSeconds": "duration_seconds",
    "SerialNumber": "mfa_serial",
    "accountId": "sso_account_id",
    "roleName": "sso_role_name",
}
"""The settings that become parameters of calls."""
_FULL, _RELATIVE = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
_TOKEN, _TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
_NO_URL = (
    "its endpoint is no URL, such as https://HOST; see AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, endpoint_url and "
    "AWS_EC2_METADATA_SERVICE_ENDPOINT"
)
_NO_NUMBER = "metadata_service_timeout or metadata_service_num_attempts is not a whole number"
_TEXTS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "credential_process",
    "credential_source",
    "external_id",
    "login_session",
    "mfa_serial",
    "region",
    "role_arn",
    "role_session_name",
    "source_profile",
    "sso_account_id",
    "sso_region",
    "sso_role_name",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
)
"""Settings of a profile that are one line; botocore reads indented lines below a setting as a table."""


def named(method: str, session: Session) -> str:
    """The name of a source for messages."""
    name = session.get_config_variable("profile") or "default"
    profile = session.full_config.get("profiles", {}).get(name, {})
    if method == "env":
        return "environment (AWS_ACCESS_KEY_ID)"
    if method in ("shared-credentials-file", "config-file"):
        variable = "credentials_file" if method == "shared-credentials-file" else "config_file"
        return f"profile {name} in {session.get_config_variable(variable)}"
    if method == "assume-role":
        return f"role {profile.get('role_arn') or '(no role_arn)'} of profile {name}"
    if method == "assume-role-with-web-identity":
        path = os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") or profile.get("web_identity_token_file")
        role = os.environ.get("AWS_ROLE_ARN") or profile.get("role_arn") or "(no AWS_ROLE_ARN or role_arn)"
        return f"web identity token {path}, role {role}"
    if method == "custom-process":
        return f"credential_process of profile {name}"
    if method == "container-role":
        return _container(os.environ)
    if method == "iam-role":
        return "instance metadata service"
    return f"{method} of profile {name}"


def _container(environ: Mapping[str, str]) -> str:
    """Without the path, which may be a secret."""
    if environ.get(_RELATIVE):
        return f"container endpoint ({_RELATIVE})"
    try:
        where = urlsplit(environ.get(_FULL, ""))
        place = f" {where.hostname}:{where.port or where.scheme}" if where.hostname else ""
    except ValueError:
        place = ""
    return f"container endpoint{place}" if place else f"container endpoint ({_FULL})"


def chain(session: Session) -> str:
    """All sources that were searched, for messages."""
    name = session.get_config_variable("profile") or "default"
    return (
        f"environment, profile {name} (in {session.get_config_variable('credentials_file')} and "
        f"{session.get_config_variable('config_file')}), container endpoint, instance metadata service"
    )


def check_texts(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a profile with a table where a line is needed, or a command that no system can run."""
    for name, profile in config.get("profiles", {}).items():
        for key in _TEXTS:
            if isinstance(profile.get(key), dict):
                raise ValueError(f"{key} of profile {name} has lines of settings below it; write its value behind =")
        if "\0" in profile.get("credential_process", ""):
            raise ValueError(f"credential_process of profile {name} has a zero byte")


def check_container(environ: Mapping[str, str]) -> None:
    """Raises ValueError for variables of the container endpoint with which it cannot be asked. Quotes none of them."""
    if environ.get(_RELATIVE):
        if not environ[_RELATIVE].startswith("/"):
            raise ValueError(f'{_RELATIVE} must begin with "/"')
    elif _FULL in environ:
        _check_url(environ[_FULL])
    token, name = environ.get(_TOKEN), _TOKEN
    if _TOKEN_FILE in environ:
        name = _TOKEN_FILE
        with open(environ[_TOKEN_FILE], "rb") as file:  # noqa: PTH123  # the path may be empty
            token = file.read(_LONGEST * 1000).decode("latin-1")
    if token is not None and not re.fullmatch(r"[\x20-\x7e]+", token):
        raise ValueError(f"{name} has no token: one line of printable ASCII characters, without a line break")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise ValueError(f"{_FULL} is no URL, such as http://HOST:PORT/PATH")


def reason(error: Exception, method: str = "") -> str:
    """The reason for a failure in our own words: the error's text may quote the reply, which may hold secrets."""
    if method == "env" and isinstance(error, ValueError):
        return "AWS_CREDENTIAL_EXPIRATION is no time, such as 2026-01-31T00:00:00Z"
    return line(_reason(error))


def is_of_settings(error: Exception) -> bool:
    """Whether a setting is wrong, so that waiting does not help."""
    return isinstance(error, (*_OF_CONFIGURATION, ParamValidationError))


def line(text: str) -> str:
    """The text as one line, shortened: names of profiles, roles and files may be anything."""
    return shortened("".join(c if c.isprintable() else " " for c in text), _LONGEST)


def _reason(error: Exception) -> str:
    if isinstance(error, ClientError):
        code = re.sub(r"[^A-Za-z0-9.:_-]", "", str(error.response.get("Error", {}).get("Code", "")))[:64]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
        return f"{error.operation_name} was answered with {code or 'no code'} (HTTP {status})"
    if isinstance(error, _OF_CONFIGURATION):
        return re.sub(r"//[^/@\s]*@", "//…@", str(error))  # a URL may have a password
    if isinstance(error, ParamValidationError):
        return _of_parameters(str(error))
    if isinstance(error, _OF_SESSIONS):
        return "its token has expired, or is missing"
    message = str(getattr(error, "kwargs", {}).get("error_msg", ""))
    if "the command " in message and error.kwargs.get("provider") == "custom-process":  # type: ignore[attr-defined]
        return message[message.index("the command ") :].strip()
    if "No credentials found in credential_source" in message:
        return f"its credential_source {error.kwargs.get('provider')} has no credentials"  # type: ignore[attr-defined]
    if status := re.search(r"non 200 response (\d{3})", message):
        return f"it answered HTTP {status[1]}"
    return _of_values(error, message) or _of_network(error, message) or f"it failed ({type(error).__name__})"


def _of_parameters(report: str) -> str:
    """Its report quotes values."""
    names = dict.fromkeys(re.findall(r"parameter (\w+)", report))
    if "WebIdentityToken" in names:
        return "the file holds no token: it is empty, or too short or too long"
    return f"{', '.join(_PARAMETERS.get(name, name) for name in names)}: missing, or not a valid value"


def _of_values(error: Exception, message: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "its file is not UTF-8 text"
    text = str(error) if isinstance(error, ValueError) else ""
    if text.startswith("Unsupported host"):
        return f"{_FULL}: http is only for this machine and the addresses of ECS and EKS; write https"
    if text.startswith("invalid literal for int"):
        return _NO_NUMBER
    no_url = isinstance(getattr(error, "kwargs", {}).get("error"), LocationValueError)
    if no_url or text.startswith(("Invalid endpoint", "Invalid IPv6 URL")):
        return _NO_URL
    malformed = isinstance(error, ValueError | TypeError | AttributeError | KeyError)
    return "its answer is malformed" if malformed or "Unable to parse JSON" in message else ""


def _of_network(error: Exception, message: str) -> str:
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError) or "timeout" in message.lower():
        return "it did not answer in time"
    if isinstance(error, ProxyConnectionError):
        return "the proxy cannot be reached (HTTP_PROXY, HTTPS_PROXY)"
    if isinstance(error, SSLError):
        return "its certificate is not trusted (AWS_CA_BUNDLE), or TLS fails"
    if isinstance(error, HTTPClientError | ConnectionError) or "Received error when attempting" in message:
        return "it cannot be reached"
    if isinstance(error, OSError):
        return f"{error.filename or 'it'}: {error.strerror or type(error).__name__}"
    return ""
