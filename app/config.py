"""Settings, and the only place that reads the environment.

    settings = get_settings()          # cached; a fault is one sentence and exit code 2
    settings = load_settings(environ)  # for the launcher and tests; raises ConfigError

Priority: environment, then `.env` (working directory, else the repository), then `DATA_DIR/instance.json`, which the
launcher writes, so that anything started beside a running instance finds its database. Every NAME is also read as
NAME_FILE, a file that holds the value.
"""

import json
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from app.domain.tasks import Queue

ROOT = Path(__file__).resolve().parent.parent
INSTANCE_FILE = "instance.json"
MIN_SECRET = 32
MIN_PASSWORD = 12
WEAK = frozenset({"secret", "password", "changeme", "change-me", "postgres", "redis", "admin", "example", "dev", "test"})

Source = Literal["environment", ".env", "instance", "default"]


class ConfigError(ValueError):
    """The configuration cannot be used; the text is one sentence for the person who starts the program."""


class Settings(BaseModel):
    """The effective configuration. Field names are the environment's, in lower case."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    app_env: Literal["development", "production", "test"] = "development"
    data_dir: Path = ROOT / "var"
    bind: str = "127.0.0.1"
    port: int = Field(5000, ge=1, le=65535)
    public_url: str = ""
    web_workers: int = Field(2, ge=1, le=32)
    terraform_workers: int = Field(10, ge=1, le=64)
    action_threads: int = Field(16, ge=1, le=128)

    database_url: str = Field("", repr=False)
    postgres_password: SecretStr | None = None
    redis_host: str = ""
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_password: SecretStr | None = None
    redis_url: str = Field("", repr=False)
    celery_broker_url: str = Field("", repr=False)
    celery_result_backend: str = Field("", repr=False)

    worker_queues: str = ""  # of `run.py worker` when -Q does not say
    worker_concurrency: int | None = Field(None, ge=1, le=256)
    # Of every task but runs, which have their own deadline: an exception first, then the end of the process.
    task_soft_time_limit_s: int = Field(600, ge=1, le=86_400)
    task_time_limit_s: int = Field(1200, ge=2, le=86_400)

    run_deadline_s: int = Field(7200, ge=10, le=86_400)
    # auto: on for PID 1, as in a container, where everything ends with it
    runners_end_with_worker: Literal["on", "off", "auto"] = "auto"
    run_deadline_grace_s: int = Field(600, ge=5, le=86_400)  # to finish what is begun; then Terraform is killed

    secret_key: SecretStr = SecretStr("")
    encryption_keys: tuple[SecretStr, ...] = ()

    flower_bind: str = "127.0.0.1"
    flower_port: int = Field(5555, ge=1, le=65535)
    flower_url: str = ""  # the address people use, when it differs from FLOWER_BIND and FLOWER_PORT
    flower_user: str = "admin"
    flower_password: SecretStr = SecretStr("")

    proxmox_endpoint: str = ""
    proxmox_token_id: str = ""
    proxmox_token_secret: SecretStr | None = None
    proxmox_ca_file: Path | None = None

    simulator: Literal["on", "off", "auto"] = "auto"
    sim_time_scale: float = Field(0.1, ge=0, le=100)
    sim_control: bool = False
    sim_clone_seconds: float | None = Field(None, ge=0, le=3600)

    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_headers: SecretStr | None = None

    terraform_bin: str = ""
    tpm_provider_mirror: Path | None = None

    _sources: dict[str, Source] = PrivateAttr(default_factory=dict)

    @field_validator("encryption_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(k.strip() for k in value.split(",") if k.strip()) if isinstance(value, str) else value

    @field_validator("worker_queues")
    @classmethod
    def _known_queues(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        if unknown := [name for name in names if name not in list(Queue)]:
            raise ValueError(f"names no queue: {unknown[0]}; there are {', '.join(Queue)}")
        return ",".join(names)

    @field_validator("celery_broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://", "amqp://", "amqps://")):
            raise ValueError("must begin with redis://, rediss://, amqp:// or amqps://")
        return value

    @field_validator("flower_user")
    @classmethod
    def _no_colon(cls, value: str) -> str:
        if ":" in value or not value:
            raise ValueError("must be a name without a colon")
        return value

    @field_validator("proxmox_endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if value and not value.startswith("https://"):
            raise ValueError("must begin with https://")
        return value.rstrip("/").removesuffix("/api2/json")

    @field_validator("flower_url")
    @classmethod
    def _web(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _otlp(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://; traces are sent below it to /v1/traces")
        return value

    @field_validator("database_url")
    @classmethod
    def _driver(cls, value: str) -> str:
        # SQLAlchemy 2.1 takes plain postgresql:// for psycopg 3, which is not installed.
        scheme, sep, rest = value.partition("://")
        if not value:
            return value
        if not sep or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
            raise ValueError("must begin with postgresql://")
        return f"postgresql+psycopg2://{rest}"

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis:// or rediss://")
        return value

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        given = [bool(self.proxmox_endpoint), bool(self.proxmox_token_id), self.proxmox_token_secret is not None]
        if any(given) and not all(given):
            raise ValueError("PROXMOX_ENDPOINT, PROXMOX_TOKEN_ID and PROXMOX_TOKEN_SECRET belong together: set all three")
        if self.task_soft_time_limit_s >= self.task_time_limit_s:
            raise ValueError("TASK_SOFT_TIME_LIMIT_S must be smaller than TASK_TIME_LIMIT_S")
        return self

    def source(self, name: str) -> Source:
        """Where the value of a field comes from."""
        return self._sources.get(name, "default")

    @property
    def configured_database(self) -> bool:
        """True when a database outside is configured, so that the embedded one is not started."""
        return self.source("database_url") in ("environment", ".env")

    @property
    def configured_redis(self) -> bool:
        """True when a Redis outside is configured, so that the embedded Valkey is not started."""
        outside = ("environment", ".env")
        return (
            self.source("redis_host") in outside
            or self.source("redis_url") in outside
            or (self.celery_broker_url.startswith(("redis", "unix")) and self.source("celery_broker_url") in outside)
        )

    @property
    def simulator_wanted(self) -> bool:
        """True when the simulated cluster is part of this instance."""
        return self.simulator == "on" or (self.simulator == "auto" and not self.proxmox_endpoint)

    @property
    def simulator_dir(self) -> Path:
        """Where the simulator keeps its state and says how to reach it."""
        return self.data_dir / "simulator"

    @property
    def encryption_key_texts(self) -> tuple[str, ...]:
        """The keys as text, newest first."""
        return tuple(k.get_secret_value() for k in self.encryption_keys)


def load_settings(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """Read the configuration. Raises ConfigError. What needs a running instance may still be empty."""
    environ, cwd = os.environ if environ is None else environ, cwd or Path.cwd()
    env_file = _env_file(environ, cwd)
    layers: list[tuple[Source, dict[str, str], Path]] = [("environment", _upper(environ), cwd)]
    if env_file is not None:
        layers.append((".env", _upper(_dotenv(env_file)), env_file.parent))
    values, sources = _merge(layers)
    values.setdefault("data_dir", ROOT / "var")
    for name, value in _instance(Path(values["data_dir"])).items():
        if name in Settings.model_fields and name not in values:
            values[name], sources[name] = value, "instance"
    _derive(values, sources)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as exc:
        raise ConfigError(_sentence(exc)) from None
    settings._sources.update(sources)  # noqa: SLF001 - frozen after this
    return settings


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process; a fault ends it with one sentence and exit code 2."""
    try:
        settings = load_settings()
        check_complete(settings)
    except ConfigError as exc:
        print(f"Configuration: {exc}", file=sys.stderr)
        raise SystemExit(2) from None
    return settings


def check_complete(settings: Settings) -> None:
    """Refuse what the application cannot run with. Raises ConfigError."""
    if not settings.database_url:
        raise ConfigError(
            f"no database: set DATABASE_URL, or start the whole instance once with `make run` (nothing in {settings.data_dir})"
        )
    if not settings.redis_url:
        raise ConfigError("no Redis: set REDIS_HOST, or start the whole instance once with `make run`")
    check_secrets(settings)


def check_secrets(settings: Settings) -> None:
    """Refuse missing secrets, and in production weak ones. Raises ConfigError."""
    if settings.app_env == "production":
        _check_production(settings)
    if not settings.secret_key.get_secret_value():
        raise ConfigError("SECRET_KEY is not set: give a random text of 32 characters or more")
    if not settings.encryption_keys:
        raise ConfigError("ENCRYPTION_KEYS is not set: give one or more random texts, separated by commas, the newest first")


def _check_production(settings: Settings) -> None:
    kept = f"; an instance that already has data keeps its value in {settings.data_dir / INSTANCE_FILE}"
    make = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
    for name, texts in (
        ("SECRET_KEY", (settings.secret_key.get_secret_value(),)),
        ("ENCRYPTION_KEYS", settings.encryption_key_texts or ("",)),
    ):
        if settings.source(name.lower()) == "instance" or not any(texts):
            raise ConfigError(f"APP_ENV=production needs {name} in the environment or .env ({make}{kept})")
        if any(_weak(text, MIN_SECRET) for text in texts):
            raise ConfigError(f"{name} is too weak for APP_ENV=production: use {MIN_SECRET} random characters or more ({make})")
    if settings.secret_key.get_secret_value() in settings.encryption_key_texts:
        raise ConfigError("ENCRYPTION_KEYS must not contain SECRET_KEY: give each its own random text")
    if settings.configured_database and _weak(_password(settings.database_url), MIN_PASSWORD):
        raise ConfigError(
            "the PostgreSQL password is missing or too weak for APP_ENV=production: "
            f"set POSTGRES_PASSWORD (or the one in DATABASE_URL) to {MIN_PASSWORD} characters or more"
        )
    if settings.configured_redis and _weak(_password(settings.redis_url), MIN_PASSWORD):
        raise ConfigError(
            f"the Redis password is missing or too weak for APP_ENV=production: set REDIS_PASSWORD to {MIN_PASSWORD} characters or more"
        )
    flower = settings.flower_password.get_secret_value()
    if flower and _weak(flower, MIN_PASSWORD):
        raise ConfigError(
            f"FLOWER_PASSWORD is too weak for APP_ENV=production: use {MIN_PASSWORD} characters or more, or leave it out to have one made"
        )


def _weak(text: str, length: int) -> bool:
    return len(text) < length or text.lower() in WEAK or len(set(text)) < length // 4


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""


def _env_file(environ: Mapping[str, str], cwd: Path) -> Path | None:
    named = environ.get("ENV_FILE")
    candidates = [Path(named)] if named else [cwd / ".env", ROOT / ".env"]
    return next((path.resolve() for path in candidates if path.is_file()), None)


def _dotenv(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values  # noqa: PLC0415 - most processes have no such file

    return {k: v for k, v in dotenv_values(path).items() if v is not None}


def _upper(values: Mapping[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in values.items()}


def _merge(layers: list[tuple[Source, dict[str, str], Path]]) -> tuple[dict[str, Any], dict[str, Source]]:
    """Take each field from the first layer that has it, as NAME or NAME_FILE. An empty text counts as not set."""
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for source, layer, base in layers:
        for name in Settings.model_fields:
            if name in values:
                continue
            text = layer.get(name.upper(), "").strip() or _from_file(name, layer, base)
            if text:
                # A relative path means a place beside where it was written.
                values[name] = base / text if name in ("data_dir", "proxmox_ca_file", "tpm_provider_mirror") else text
                sources[name] = source
    if "data_dir" in values:
        values["data_dir"] = Path(os.path.normpath(values["data_dir"].expanduser()))
    return values, sources


def _from_file(name: str, layer: Mapping[str, str], base: Path) -> str:
    path = layer.get(f"{name.upper()}_FILE", "").strip()
    # PROXMOX_CA has no value of its own: PROXMOX_CA_FILE is a field.
    if not path or f"{name}_file" in Settings.model_fields:
        return ""
    try:
        text = (base / path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{name.upper()}_FILE names {path}, which cannot be read: {exc}") from None
    if not text:
        raise ConfigError(f"{name.upper()}_FILE names {path}, which is empty")
    return text


def _instance(data_dir: Path) -> dict[str, Any]:
    path = data_dir / INSTANCE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        raise ConfigError(f"DATA_DIR names {data_dir}, which is not a directory") from None
    except PermissionError:
        raise ConfigError(f"{path} belongs to another user: run as that user, or choose another DATA_DIR") from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from None
    return content if isinstance(content, dict) else {}


def _derive(values: dict[str, Any], sources: dict[str, Source]) -> None:
    """Fill what follows from other values: passwords in URLs, one Redis for broker, results and everything else."""
    if sources.get("database_url") in ("environment", ".env") and values.get("postgres_password"):
        values["database_url"] = _with_password(values["database_url"], values["postgres_password"])
    if values.get("redis_host"):
        password = f":{quote(values['redis_password'], safe='')}@" if values.get("redis_password") else ""
        values["redis_url"] = f"redis://{password}{values['redis_host']}:{values.get('redis_port', 6379)}/0"
        sources["redis_url"] = sources["redis_host"]
    elif values.get("celery_broker_url", "").startswith("redis") and sources.get("redis_url") in (None, "instance"):
        values["redis_url"], sources["redis_url"] = values["celery_broker_url"], sources["celery_broker_url"]
    for name in ("celery_broker_url", "celery_result_backend"):
        if not values.get(name) and values.get("redis_url"):
            values[name] = values["redis_url"]
            sources[name] = sources["redis_url"]


def _with_password(url: str, password: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.password or not parts.hostname:
            return url
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username or 'postgres'}:{quote(password, safe='')}@{host}{port}"))


def _sentence(exc: ValidationError) -> str:
    faults = []
    for error in exc.errors(include_url=False, include_input=False):
        name = str(error["loc"][0]).upper() if error["loc"] else ""
        message = error["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:] if name else message
        faults.append(f"{name} is wrong: {message}" if name else message)
    return "; ".join(faults)


NETWORK_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO")
GO_NAMES = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOAUTH", "GOMODCACHE", "GOCACHE", "GOPATH", "NETRC")


def client_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What package clients need to reach the network: proxies, certificates, Go's module settings. For set-up only."""
    environ = os.environ if environ is None else environ
    names = [*NETWORK_NAMES, *(n.lower() for n in NETWORK_NAMES), *GO_NAMES]
    return {name: environ[name] for name in names if environ.get(name)}
