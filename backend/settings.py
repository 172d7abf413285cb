"""Every setting, in one Struct. The environment (`ANLU_PORT`) stands above `anlu.toml` (`port = 8000`), which stands above the defaults.

A wrong setting stops the start with a sentence that names it. A name nobody knows is wrong too: it is a typing error that would otherwise
go unseen.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

PREFIX = "ANLU_"
FILE = "anlu.toml"
TOKEN_CHARS_MIN = 16
BUCKET = re.compile(r"/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PROJECT = Path(__file__).resolve().parents[1]


class WrongSetting(Exception):
    """A setting cannot be used. `str()` is the sentence in both languages."""

    def __init__(self, name: str, zh: str, en: str) -> None:
        super().__init__(f"设置 {name} 不对：{zh}\nThe setting {name} is wrong: {en}")
        self.name = name


def _doc(zh: str, en: str, example: str | None = None) -> msgspec.Meta:
    return msgspec.Meta(description=en, extra={"zh": zh, "example": example})


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator decides. Paths are taken from the folder where the server is started."""

    host: Annotated[
        str,
        _doc("监听的网络地址；0.0.0.0 表示所有网卡。", "Network address to listen on; 0.0.0.0 means every interface."),
        msgspec.Meta(min_length=1),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        _doc("监听的端口；0 表示由系统挑一个空闲的。", "Port to listen on; 0 lets the system pick a free one."),
        msgspec.Meta(ge=0, le=65535),
    ] = 8000
    origin: Annotated[
        str,
        _doc(
            "手机打开的地址，写进二维码标签；https 开头时启用安全 Cookie 和 HSTS。空着则用 http://host:port。",
            "The address phones open, printed in QR tags; https turns on secure cookies and HSTS. Empty means http://host:port.",
            "https://anlu.example.com",
        ),
    ] = ""
    workers: Annotated[
        int,
        _doc(
            "同时运行的服务进程数；多于 1 个需要 PostgreSQL。",
            "Server processes that share the port; more than 1 needs PostgreSQL.",
        ),
        msgspec.Meta(ge=1, le=64),
    ] = 1
    data: Annotated[
        str, _doc("数据文件夹：数据库、照片、密钥。", "Folder of the data: database, photos, keys."), msgspec.Meta(min_length=1)
    ] = "data"
    database: Annotated[
        str,
        _doc(
            "数据库地址：SQLite 文件或 PostgreSQL；空着则是数据文件夹里的 anlu.db。"
            "可加 pool_size（连接数，默认 10）；经 pgbouncer 事务模式时加 statement_cache_size=0。",
            "Database URL, a file of SQLite or PostgreSQL; empty means anlu.db in the data folder."
            " It takes pool_size (connections, 10) and, behind pgbouncer in transaction mode, statement_cache_size=0.",
            "postgres://anlu:secret@db.example.com:5432/anlu?pool_size=10",
        ),
    ] = ""
    media: Annotated[
        str,
        _doc(
            "照片文件夹；空着则是数据文件夹里的 media。", "Folder of the photos; empty means media in the data folder.", "/srv/anlu/media"
        ),
    ] = ""
    s3: Annotated[
        str,
        _doc(
            "照片放在 S3 存储桶里时的地址；空着则放在照片文件夹。几台机器不共用磁盘时用它；上传中的照片仍在照片文件夹。",
            "Bucket of an S3 service for finished photos; empty means the folder of the photos. For machines that share no disk; uploads "
            "on their way stay in that folder.",
            "https://access:secret@s3.example.com/anlu?region=cn-north-1",
        ),
    ] = ""
    keys: Annotated[
        str,
        _doc(
            "密钥文件夹，请与数据库分开备份；空着则是数据文件夹里的 keys。",
            "Folder of the keys, to be backed up apart from the database; empty means keys in the data folder.",
            "/etc/anlu/keys",
        ),
    ] = ""
    pwa: Annotated[
        str,
        _doc(
            "构建好的网页应用所在文件夹；空着则用随程序的 pwa/dist。", "Folder of the built app; empty means pwa/dist beside the program."
        ),
    ] = ""
    proxy_addresses: Annotated[
        str,
        _doc(
            "反向代理的 IP 地址，用逗号分开；只相信它们给出的客户端地址（X-Forwarded-For）。",
            "IP addresses of the reverse proxy, by comma; only they are believed who asks (X-Forwarded-For).",
            "127.0.0.1",
        ),
    ] = ""
    tls_certificate: Annotated[
        str,
        _doc(
            "服务器自己做 HTTPS 时的证书链（PEM）；空着则由反向代理做。",
            "Certificate chain (PEM) where the server itself speaks HTTPS; empty means a reverse proxy does.",
            "/etc/anlu/tls/fullchain.pem",
        ),
    ] = ""
    tls_key: Annotated[
        str,
        _doc("上述证书的私钥（PEM）。", "Private key (PEM) of that certificate.", "/etc/anlu/tls/key.pem"),
    ] = ""
    lan_http_port: Annotated[
        int,
        _doc(
            "serve --lan 时发放根证书和安装说明的 http 端口；0 表示由系统挑一个空闲的。",
            "With serve --lan: the http port that gives out the CA certificate and how to install it; 0 lets the system pick a free one.",
        ),
        msgspec.Meta(ge=0, le=65535),
    ] = 8080
    demo: Annotated[
        bool, _doc("这是演示工厂：第一次启动时填入样例数据。", "This is a demo plant: the first start fills it with sample data.")
    ] = False
    demo_size: Annotated[
        Literal["large", "small"],
        _doc(
            "演示工厂的大小：large 有 40 个区域、300 台设备和 30 天的历史（anlu demo 用它），small 有 5 个区域、20 台设备，没有历史。",
            "How much a demo plant holds: large has 40 areas, 300 machines and 30 days of history (anlu demo takes it), small has 5 areas, "
            "20 machines and no history.",
        ),
    ] = "small"
    password_ms: Annotated[
        int,
        _doc(
            "验证一次密码最多用的毫秒数；第一次启动时按此测定。", "Milliseconds one password check may take; measured at the first start."
        ),
        msgspec.Meta(ge=20, le=2000),
    ] = 250
    worker_session_hours: Annotated[
        int, _doc("普通人员登录后的有效小时数。", "Hours a worker's sign-in lasts."), msgspec.Meta(ge=1, le=24)
    ] = 12
    admin_session_hours: Annotated[
        int, _doc("管理人员登录后的有效小时数。", "Hours an administrator's sign-in lasts."), msgspec.Meta(ge=1, le=24)
    ] = 8
    disk_free_mb_min: Annotated[
        int,
        _doc("磁盘剩余少于这么多 MB 时，健康检查报警。", "Below this many free MB the health check complains."),
        msgspec.Meta(ge=1, le=10_000_000),
    ] = 500
    media_free_mb_min: Annotated[
        int,
        _doc(
            "照片所在磁盘剩余少于这么多 MB 时，照片留在手机里等待，操作记录照常接收。",
            "Below this many free MB on their disk photos wait on the phones, and ops are still taken.",
        ),
        msgspec.Meta(ge=1, le=10_000_000),
    ] = 300
    cold_years: Annotated[
        int,
        _doc(
            "操作记录满这么多年后，其原文从数据库移到数据文件夹的 cold 里（压缩，校验和备份照常覆盖）；0 表示不移。",
            "Years after which ops' bytes move from the database to compressed files in cold of the data folder, verified and backed up as "
            "before; 0 never moves them.",
        ),
        msgspec.Meta(ge=0, le=100),
    ] = 3
    upgrade_without_backup: Annotated[
        bool,
        _doc(
            "升级数据库结构前的自动备份做不成时仍然升级；只在已另行备份时使用。",
            "Upgrade the schema even where the backup before it cannot be made; only with a backup of your own.",
        ),
    ] = False
    metrics_token: Annotated[
        str,
        _doc(
            "读取 /metrics 要出示的令牌（Authorization: Bearer …）；空着则只有本机可读。",
            "Token with which /metrics is read (Authorization: Bearer …); empty means from this machine only.",
        ),
    ] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _doc("日志的详细程度。", "How much is logged.")] = "info"

    @property
    def data_path(self) -> Path:
        return Path(self.data).resolve()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data_path / 'anlu.db'}"

    @property
    def database_file(self) -> Path | None:
        """The file of an SQLite database; None for PostgreSQL."""
        scheme, _, path = self.database_url.partition("://")
        return Path(path[1:]) if scheme == "sqlite" else None

    @property
    def certificate_file(self) -> Path | None:
        """The certificate with which the server itself speaks HTTPS; None where a reverse proxy does."""
        return Path(self.tls_certificate).resolve() if self.tls_certificate else None

    @property
    def proxies(self) -> list[str]:
        """Addresses or nets of the reverse proxy."""
        return [one.strip() for one in self.proxy_addresses.split(",") if one.strip()]

    @property
    def media_path(self) -> Path:
        return Path(self.media).resolve() if self.media else self.data_path / "media"

    @property
    def cold_path(self) -> Path:
        return self.data_path / "cold"

    @property
    def keys_path(self) -> Path:
        return Path(self.keys).resolve() if self.keys else self.data_path / "keys"

    @property
    def pwa_path(self) -> Path:
        return Path(self.pwa).resolve() if self.pwa else PROJECT / "pwa" / "dist"

    @property
    def public_origin(self) -> str:
        """Scheme, host and port as phones see them, without a slash at the end."""
        if self.origin:
            return self.origin.rstrip("/")
        scheme = "https" if self.tls_certificate else "http"
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"{scheme}://{host}:{self.port}"

    @property
    def https(self) -> bool:
        return self.public_origin.startswith("https://")

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Self:
        """The settings of this process. Raises WrongSetting."""
        given = dict(os.environ if environment is None else environment)
        found = _from_file((folder or Path()) / FILE)
        origin = dict.fromkeys(found, FILE)
        types = get_type_hints(cls)
        for key, text in sorted(given.items()):
            if not key.startswith(PREFIX):
                continue
            name = key.removeprefix(PREFIX).lower()
            if name not in types:
                raise WrongSetting(key, "没有这个设置，请检查拼写。", "there is no such setting; check the spelling.")
            found[name] = _from_text(key, text, types[name])
            origin[name] = key
        for name, value in found.items():
            if name not in types:
                raise WrongSetting(f"{name} ({FILE})", "没有这个设置，请检查拼写。", "there is no such setting; check the spelling.")
            _convert(f"{name} ({FILE})" if origin[name] == FILE else origin[name], value, types, name)
        settings = msgspec.convert(found, cls)
        _check(settings, origin)
        return settings


class Described(msgspec.Struct, frozen=True):
    """A setting as the documentation shows it."""

    name: str
    variable: str
    default: Any
    zh: str
    en: str
    example: str | None


def describe() -> list[Described]:
    """Every setting with its variable, default and meaning, in the order of the Struct."""
    hints = get_type_hints(Settings, include_extras=True)
    described = []
    for field in msgspec.structs.fields(Settings):
        meta = next(m for m in get_args(hints[field.name])[1:] if isinstance(m, msgspec.Meta) and m.description)
        extra = meta.extra or {}
        described.append(
            Described(field.name, PREFIX + field.name.upper(), field.default, extra["zh"], str(meta.description), extra.get("example"))
        )
    return described


def _from_file(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSetting(str(file), f"文件无法读取（{error}）。", f"the file cannot be read ({error}).") from error


def _from_text(key: str, text: str, kind: Any) -> Any:
    if kind is bool:
        known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
        if text.lower() not in known:
            raise WrongSetting(key, f"应为 true 或 false，现为“{text}”。", f"it is true or false, not “{text}”.")
        return known[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise WrongSetting(key, f"应为整数，现为“{text}”。", f"it is a whole number, not “{text}”.") from None
    return text


def _convert(shown: str, value: Any, types: dict[str, Any], name: str) -> None:
    full = get_type_hints(Settings, include_extras=True)[name]
    try:
        msgspec.convert(value, full)
    except msgspec.ValidationError:
        kind = types[name]
        ranges = [m for m in get_args(full)[1:] if isinstance(m, msgspec.Meta) and m.ge is not None]
        if get_origin(kind) is Literal:
            words = ", ".join(get_args(kind))
            raise WrongSetting(shown, f"应为 {words} 之一，现为“{value}”。", f"it is one of {words}, not “{value}”.") from None
        if kind is int and isinstance(value, int) and ranges:
            low, high = ranges[0].ge, ranges[0].le
            raise WrongSetting(
                shown, f"应在 {low} 到 {high} 之间，现为 {value}。", f"it is between {low} and {high}, not {value}."
            ) from None
        word = {int: ("整数", "a whole number"), bool: ("true 或 false", "true or false"), str: ("非空文字", "a text that is not empty")}[
            kind
        ]
        raise WrongSetting(shown, f"应为{word[0]}，现为“{value}”。", f"it is {word[1]}, not “{value}”.") from None


def _check(settings: Settings, origin: dict[str, str]) -> None:
    def wrong(name: str, zh: str, en: str) -> WrongSetting:
        shown = origin.get(name, PREFIX + name.upper())
        return WrongSetting(f"{name} ({FILE})" if shown == FILE else shown, zh, en)

    if settings.origin:
        parts = urlsplit(settings.origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise wrong(
                "origin",
                f"应为 https://主机名 这样的地址，不带路径，现为“{settings.origin}”。",
                f"it is an address like https://host without a path, not “{settings.origin}”.",
            )
    if settings.database and not settings.database.startswith(("sqlite:///", "postgres://", "postgresql://")):
        raise wrong(
            "database",
            f"应为 sqlite:///文件路径 或 postgres://用户:密码@主机/数据库，现为“{_without_password(settings.database)}”。",
            f"it is sqlite:///path or postgres://user:password@host/database, not “{_without_password(settings.database)}”.",
        )
    if settings.workers > 1 and settings.database_url.startswith("sqlite:"):
        raise wrong(
            "workers",
            "SQLite 只能用 1 个进程；请用 ANLU_DATABASE 设置 PostgreSQL，或改为 1。",
            "SQLite takes one process; set PostgreSQL with ANLU_DATABASE, or 1.",
        )
    if settings.workers > 1 and settings.demo:
        raise wrong("workers", "演示工厂只用 1 个进程。", "a demo plant is served by one process.")
    if settings.metrics_token and (not settings.metrics_token.isascii() or len(settings.metrics_token) < TOKEN_CHARS_MIN):
        raise wrong(
            "metrics_token",
            f"至少 {TOKEN_CHARS_MIN} 个英文字符。",
            f"it has at least {TOKEN_CHARS_MIN} ASCII characters.",
        )
    if "://" in settings.media:
        raise wrong(
            "media",
            f"应为文件夹，现为“{_without_password(settings.media)}”。",
            f"it is a folder, not “{_without_password(settings.media)}”.",
        )
    if settings.s3:
        parts, shown = urlsplit(settings.s3), _without_password(settings.s3)
        named = parts.hostname and parts.username and parts.password and BUCKET.fullmatch(parts.path)
        if parts.scheme not in ("http", "https") or not named:
            raise wrong(
                "s3",
                f"应为 https://访问名:密钥@主机/存储桶，现为“{shown}”。",
                f"it is https://access:secret@host/bucket, not “{shown}”.",
            )
    for name, file in (("tls_certificate", settings.tls_certificate), ("tls_key", settings.tls_key)):
        if file and not Path(file).is_file():
            raise wrong(name, f"没有文件“{file}”。", f"there is no file “{file}”.")
    for address in settings.proxies:
        try:
            ipaddress.ip_network(address)
        except ValueError:
            raise wrong("proxy_addresses", f"“{address}”不是 IP 地址。", f"“{address}” is no IP address.") from None
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise wrong(
            "tls_certificate" if settings.tls_certificate else "tls_key",
            "证书和私钥要一起设置。",
            "certificate and key are set together.",
        )
    if settings.pwa and not settings.pwa_path.is_dir():
        raise wrong("pwa", f"没有文件夹“{settings.pwa_path}”。", f"there is no folder “{settings.pwa_path}”.")
    for name, path in (("data", settings.data_path), ("media", settings.media_path), ("keys", settings.keys_path)):
        if path.exists() and not path.is_dir():
            raise wrong(name, f"“{path}”不是文件夹。", f"“{path}” is not a folder.")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return url if not parts.password else url.replace(parts.password, "***")
