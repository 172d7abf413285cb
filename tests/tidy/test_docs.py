"""The documents say what the code does.

Tables stand between `<!-- table: NAME -->` and `<!-- end -->` and are written from the code: `WRITE_DOCS=1 pytest tests/tidy/test_docs.py`
writes them anew. What stands in sentences (commands, settings, recipes, routes, metrics, codes, files) has to exist.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from litestar.routes import HTTPRoute

from backend import cli
from backend.app import Anlu, build
from backend.auth import attempts, devices, nonces, tokens
from backend.flow.judge import FlowJudge
from backend.flow.kind import CompiledKind, Does, Transition
from backend.flow.load import BACKEND, file_kinds, plant_limits, read_yaml
from backend.kernel.errors import Entry, catalogue
from backend.settings import Settings, describe
from backend.sync import events, hlc, op, pull, push, server
from backend.web.metrics import Metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ["operator.md", "safety-officer.md", "integrator.md", "sync.md", "scale.md", "checklists.md"]
DEPLOY = DOCS / "deploy"
ANSWERED = {
    *("auth.wrong", "auth.too_many", "auth.expired", "auth.other_session", "auth.key", "auth.proof", "auth.revoked", "auth.not_active"),
    *("auth.device_retired", "device.forked", "http.malformed", "http.too_large", "http.rate", "http.unavailable", "http.internal"),
}
"""What a client of the protocol meets beside `sync.*`."""
DOUBTED = ("author.unproven", "device.revoked")
BLOCK = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Anlu:
    return build(Settings(data=str(tmp_path_factory.mktemp("docs") / "data")))


def kinds() -> list[CompiledKind]:
    return sorted(FlowJudge(file_kinds()).kinds(), key=lambda kind: kind.name)


def cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def code(value: Any) -> str:
    return f"`{cell(value)}`" if value not in (None, "") else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


# Tables.


def settings_table(_: Anlu) -> str:
    rows = [[code(one.variable), code(one.default), cell(one.zh), cell(one.en)] for one in describe()]
    return table(["变量 Variable", "默认 Default", "含义", "Meaning"], rows)


def commands_table(_: Anlu) -> str:
    said = re.findall(r"^anlu (.+?)  +(.+)$", cli.__doc__ or "", re.MULTILINE)
    return table(["命令 Command", "What it does"], [[f"`anlu {command}`", cell(what)] for command, what in said])


def metrics_table(_: Anlu) -> str:
    rows = [[code(one.name), one.type, cell(one.documentation)] for one in metric_families()]
    return table(["指标 Metric", "Type", "Meaning"], rows)


def metric_families() -> list[Any]:
    found = Metrics(Settings(), "x").registry.collect()
    return sorted((one for one in found if one.name.startswith("anlu_")), key=lambda one: one.name)


def routes_table(app: Anlu) -> str:
    rows = []
    for method, path, handler in routes(app):
        text = (handler.fn.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        rows.append([method, code(path), code(handler.opt["who"]), cell(re.sub(r"\s+", " ", text))])
    return table(["Method", "路径 Path", "谁 Who", "What"], rows)


def routes(app: Anlu) -> list[tuple[str, str, Any]]:
    found = [
        (method, route.path_format, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in sorted(handler.http_methods - {"OPTIONS"})
        if handler.resolve_include_in_schema()
    ]
    return sorted(found, key=lambda one: (one[1], one[0]))


def codes_table(_: Anlu) -> str:
    rows = [[code(name), str(entry.status), cell(entry.zh), cell(entry.en)] for name, entry in sorted(catalogue().items())]
    return table(["代码 Code", "HTTP", "说明", "What happened"], rows)


def limits_table(_: Anlu) -> str:
    content = read_yaml(BACKEND / "flow/limits.yaml") | plant_limits()
    rows = [
        [
            code(name),
            cell(one["title"]["zh"]),
            cell(one["title"]["en"]),
            "待定 unset" if one.get("value") is None else f"{one['value']} {one.get('unit') or ''}".strip(),
            cell(" ".join(filter(None, (one.get("law"), one.get("clause"))))),
            one["sure"],
        ]
        for name, one in sorted(content.items())
    ]
    return table(["限值 Limit", "名称", "Title", "值 Value", "依据 Source", "可靠 Sure"], rows)


def kinds_table(_: Anlu) -> str:
    """Every kind that is no check list, with every step it has; check lists share the steps of `check.base`."""
    rows = []
    shared = None
    for kind in kinds():
        if kind.kind.checklist is not None:
            if shared is not None:
                assert steps(kind) == shared, f"{kind.name} has steps of its own: give it rows of its own"
                continue
            shared = steps(kind)
            rows += [[code("check.*"), *row] for row in shared]
        else:
            rows += [[code(kind.name), *row] for row in steps(kind)]
    return table(["类型 Kind", "步骤 Step", "名称", "Title", "从 From", "到 To", "谁 Who"], rows)


def steps(kind: CompiledKind) -> list[list[str]]:
    spec = kind.kind
    rows = [
        [
            "`new`",
            cell(spec.title.zh if spec.checklist is None else "检查"),
            cell(spec.title.en if spec.checklist is None else "Check"),
            "",
            kind.start,
            who(spec.new),
        ]
    ]
    for name, step in spec.transitions.items():
        title = step.title
        source = "*" if step.source == "*" else " ".join(step.source)
        to = step.to if isinstance(step.to, str) else " ".join(step.to or {}) or "="
        rows.append([code(name), cell(title.zh if title else ""), cell(title.en if title else ""), cell(source), cell(to), who(step)])
    for name, items in spec.sets.items():
        title = items.title
        rows.append([code(f"add {name}"), cell(title.zh if title else ""), cell(title.en if title else ""), "", "", who(items)])
    for edit in spec.edit:
        rows.append([code("set " + ", ".join(edit.fields)), "修改", "Edit", "", "", code(" ".join(str(edit.who).split()))])
    return rows


def who(step: Does) -> str:
    if step.server:
        return "服务器 server"
    if step.who is None:
        stops = isinstance(step, Transition) and step.stop
        return "任何人 anybody" if stops else "—"
    return code(" ".join(str(step.who).split()))


def sync_codes_table(_: Anlu) -> str:
    """What push, pull and signing in may answer, and what the server itself says of an op."""
    said = catalogue()
    whole = [name for name in said if name in ANSWERED or (name.startswith("sync.") and name not in phones_own())]
    verdicts = [name for name in said if name.startswith("op.") and name not in phones_own()]
    rows = [["request", code(name), str(said[name].status), *says(said[name])] for name in sorted(whole)]
    rows += [
        ["parked" if said[name].status == 202 else "refused", code(name), "", *says(said[name])] for name in sorted([*verdicts, *DOUBTED])
    ]
    return table(["状态 Where", "代码 Code", "HTTP", "参数 Params", "说明", "What happened"], rows)


def says(entry: Entry) -> list[str]:
    return [" ".join(f"`{name}`" for name in entry.params), cell(entry.zh), cell(entry.en)]


def phones_own() -> set[str]:
    """Codes that the app says to itself and no server answers with."""
    return set(json.loads((BACKEND / "kernel/catalogue/phone.json").read_text("utf-8")))


def sync_reasons_table(_: Anlu) -> str:
    return table(["reason", "What is wrong"], [[code(name), cell(text)] for name, text in op.REASONS.items()])


def sync_limits_table(_: Anlu) -> str:
    rows = [
        ("一包操作 ops in a bundle", op.OPS_IN_BUNDLE_MAX, "`sync.too_large`"),
        ("一包字节 bytes in a bundle, before any Content-Encoding", op.BUNDLE_BYTES_MAX, "`sync.too_large`"),
        ("作者令牌 author tokens in a bundle", push.TOKENS_IN_BUNDLE_MAX, "`sync.malformed`"),
        ("加密旧包 bytes of a request to push", push.JOSE_BYTES_MAX, "`http.too_large`"),
        ("每分钟包数 bundles of a device in a minute", server.BUNDLES_PER_MINUTE, "`http.rate`"),
        ("一条操作 bytes in an op", op.OP_BYTES_MAX, "`op.malformed`"),
        ("名称数 names in an op: fields, entries, inputs", op.FIELDS_IN_SET_MAX, "`op.malformed`"),
        ("名称长度 characters of a name", op.NAME_CHARS_MAX, "`op.malformed`"),
        ("一个值 bytes of a value, or a whole item, as RFC 8785 writes it", op.VALUE_BYTES_MAX, "`op.malformed`"),
        ("嵌套层数 arrays and objects inside one another, the op counted", op.DEPTH_MAX, "`op.malformed`"),
        ("最大数 largest number", op.NUMBER_MAX, "`op.malformed`"),
        ("集合条目 items in one set of a document", op.ITEMS_IN_SET_MAX, "`op.set_full`"),
        ("盐 bytes of a salt", push.SALT_BYTES, "value not kept"),
        ("时钟超前 clock ahead, ms", hlc.CLOCK_AHEAD_MS_MAX, "`e` is the server's"),
        ("作者令牌 author token, hours", tokens.AUTHOR_TOKEN_HOURS, "`author.unproven`"),
        ("令牌前的宽限 grace before a token's `iat`, ms", tokens.CLOCK_LEEWAY_MS, "`author.unproven`"),
        ("证书 certificate, days", tokens.CERTIFICATE_DAYS, "`sync.certificate`"),
        ("回执 receipt, days", tokens.RECEIPT_DAYS, ""),
        ("曾用设备号 predecessors in a certificate", devices.PREDECESSORS_MAX, "`op.wrong_device`"),
        ("随机数 nonce, ms", nonces.LIFE_MS, "`auth.proof`"),
        ("每个账号试错 tries for a name in five minutes", attempts.ATTEMPTS_MAX, "`auth.too_many`"),
        ("一页文档 documents in a page of a first pull", pull.DOCS_IN_PAGE_MAX, "next page"),
        ("一页变更 changes in a page", pull.CHANGES_IN_PAGE_MAX, "next page"),
        ("一页字节 bytes of a page, up to the line that reaches it", pull.PAGE_BYTES_MAX, "next page"),
        ("want", pull.WANTED_MAX, "the rest is not read"),
        ("游标 characters of a cursor", pull.CURSOR_CHARS_MAX, "`reset`"),
        ("事件注释 comment of the event stream, seconds", events.COMMENT_SECONDS, ""),
        ("事件连接 event streams of a server", events.LISTENERS_MAX, "`http.unavailable`"),
        ("会话 session, hours (worker, administrator)", "{worker_session_hours}, {admin_session_hours}", "`auth.expired`"),
    ]
    own = {name: getattr(Settings(), name) for name in ("worker_session_hours", "admin_session_hours")}
    return table(["限值 Limit", "值 Value", "超过时 Beyond it"], [[what, str(value).format(**own), then] for what, value, then in rows])


def checklists_table(_: Anlu) -> str:
    parts = []
    for kind in kinds():
        spec = kind.kind
        if spec.checklist is None:
            continue
        of = "、".join(label.zh for label in spec.checklist.equipment_types.values())
        of_en = ", ".join(label.en for label in spec.checklist.equipment_types.values())
        parts.append(
            f"## {spec.title.zh} · {spec.title.en}\n\n`{kind.name}` · {of} · {of_en} · {spec.checklist.interval.zh} · {spec.checklist.interval.en}\n"
        )
        parts += [f"- {name}：{source.zh} · {source.en}（{source.read}）" for name, source in spec.sources.items()]
        rows = [
            [
                code(item.id.partition(".")[2]),
                cell(item.title.zh) + (" **!**" if item.critical else ""),
                cell(item.title.en),
                bounds(item),
                cell(f"{item.law.id} {item.law.clause or ''}".strip()) if item.law else "",
                item.law_scope,
                item.sure if item.sure == "A" else f"{item.sure} 待核",
            ]
            for item in spec.items
        ]
        parts.append("\n" + table(["项 Item", "内容", "What", "限值 Limit", "依据 Source", "条文 Scope", "可靠 Sure"], rows) + "\n")
    return "\n".join(parts)


def bounds(item: Any) -> str:
    if item.type != "number":
        return "是/否 yes/no" if item.type == "yes_no" else "选择 choice"
    known = [f"{sign} {value:g}" for sign, value in (("≥", item.min), ("≤", item.max)) if value is not None]
    shown = f"{', '.join(known)} {item.unit or ''}".strip() if known else f"数值 number {item.unit or ''}".strip()
    return cell(shown + (" 工厂定 plant's own" if item.plant_sets_limit else ""))


TABLES: dict[str, Callable[[Anlu], str]] = {
    "settings": settings_table,
    "commands": commands_table,
    "metrics": metrics_table,
    "routes": routes_table,
    "codes": codes_table,
    "limits": limits_table,
    "kinds": kinds_table,
    "checklists": checklists_table,
    "sync_codes": sync_codes_table,
    "sync_reasons": sync_reasons_table,
    "sync_limits": sync_limits_table,
}


def test_every_table_is_in_a_document_and_says_what_the_code_says(app: Anlu):
    seen = []
    for name in PAGES:
        page = DOCS / name
        text = page.read_text("utf-8")
        seen += BLOCK.findall(text)
        fresh = BLOCK.sub(lambda found: f"<!-- table: {found[1]} -->\n{TABLES[found[1]](app)}\n<!-- end -->", text)
        if os.environ.get("WRITE_DOCS"):
            page.write_text(fresh, "utf-8")
        else:
            assert text == fresh, f"{name} is behind the code: WRITE_DOCS=1 pytest tests/tidy/test_docs.py writes its tables anew"
    assert sorted(seen) == sorted(TABLES)


# Sentences.


def pages() -> list[tuple[str, str]]:
    files = [*(DOCS / name for name in PAGES), *(path for path in sorted(DEPLOY.iterdir()) if path.is_file())]
    return [(path.name, path.read_text("utf-8")) for path in files]


@pytest.mark.parametrize(("name", "text"), pages(), ids=[name for name, _ in pages()])
def test_what_a_document_names_exists(name: str, text: str, app: Anlu):
    variables = {one.variable for one in describe()}
    assert set(re.findall(r"\bANLU_[A-Z][A-Z_]*[A-Z]\b", text)) <= variables
    commands = set(re.findall(r"^anlu ([a-z-]+)", cli.__doc__ or "", re.MULTILINE))
    assert set(re.findall(r"(?:`anlu|\bbackend\.cli|\./justw anlu) ([a-z][a-z-]+)", text)) <= commands
    recipes = set(re.findall(r"^([a-z]+)(?: [^:=]*)?:(?!=)", (ROOT / "justfile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\./justw ([a-z]+)", text)) <= recipes
    plain = BLOCK.sub("", text)
    known = {re.sub(r"\{\w+\}", "{}", path) for _, path, _ in routes(app)} | {"/api/schema", "/api/schema/openapi.json", "/ca.crt"}
    named = {
        re.sub(r"<[^>]*>|\{[^}]*\}", "{}", path) for path in re.findall(r"(?<![\w.])(/(?:api/[\w/{}<>.-]*[\w}>]|metrics|ca\.crt))", plain)
    }
    assert named <= known, named - known
    metrics = {one.name for one in metric_families()}
    for metric in re.findall(r"\banlu_[a-z_]+", plain):
        assert re.sub(r"_(total|bucket|count|sum)$", "", metric) in metrics, metric
    for file in re.findall(r"`((?:docs|backend|tests|decisions|media|pwa)/[\w./-]+)`", plain):
        assert (ROOT / file).exists(), file
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", plain):
        assert (DOCS / link).exists(), link
    areas = {one.partition(".")[0] for one in catalogue()}
    for said in re.findall(r"`([a-z]+\.[a-z_]+)`", plain):
        if said.partition(".")[0] in areas - {"check"}:
            assert said in catalogue(), said


def test_each_guide_begins_with_a_summary_in_chinese():
    for name in PAGES[:5]:
        top = (DOCS / name).read_text("utf-8").split("\n## ")[0]
        assert len(re.findall(r"[\u4e00-\u9fff]", top)) > 120, name


# Files for the machine.


def test_the_reverse_proxies_let_events_through_at_once_take_the_largest_body_and_show_no_metrics(app: Anlu):
    largest = max(handler.resolve_request_max_body_size() or 0 for _, _, handler in routes(app))
    nginx = (DEPLOY / "nginx.conf").read_text("utf-8")
    (size,) = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert int(size) * 1024 * 1024 >= largest
    events = nginx.partition("location = /api/sync/events {")[2].partition("}")[0]
    assert "proxy_buffering off;" in events
    assert re.search(r"location = /metrics \{\s+return 404;", nginx)
    for name in ("Caddyfile", "compose.Caddyfile"):
        caddy = (DEPLOY / name).read_text("utf-8")
        assert "flush_interval -1" in caddy
        assert "respond /metrics 404" in caddy


def test_the_units_start_commands_that_exist_and_the_timer_backs_up_as_often_as_promised():
    for unit in ("anlu.service", "anlu-backup.service"):
        text = (DEPLOY / unit).read_text("utf-8")
        (arguments,) = re.findall(r"^ExecStart=/opt/anlu/\.venv/bin/python -m backend\.cli (.+)$", text, re.MULTILINE)
        cli._parser().parse_args(arguments.split())
    assert "OnCalendar=*:0/5" in (DEPLOY / "anlu-backup.timer").read_text("utf-8")
    environment = dict(
        line.split("=", 1) for line in (DEPLOY / "anlu.env").read_text("utf-8").splitlines() if line and not line.startswith("#")
    )
    assert Settings.read(environment, Path("/nowhere")).https


def test_the_compose_file_gives_the_server_settings_that_it_takes():
    compose = yaml.safe_load((DEPLOY / "compose.yml").read_text("utf-8"))
    anlu = compose["services"]["anlu"]
    settings = Settings.read(
        {name: value.replace("${DB_PASSWORD}", "secret") for name, value in anlu["environment"].items()}, Path("/nowhere")
    )
    assert settings.workers > 1
    assert settings.proxies == [compose["networks"]["default"]["ipam"]["config"][0]["subnet"]]
    assert {volume.partition(":")[0] for volume in anlu["volumes"]} <= compose["volumes"].keys()
    assert (ROOT / anlu["build"]["dockerfile"]).is_file()
    assert re.search(
        r'^CMD \[".venv/bin/python", "-m", "backend.cli", "serve"\]$', (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )


def test_the_alerts_are_yaml_and_each_says_in_both_languages_what_is_wrong():
    (group,) = yaml.safe_load((DEPLOY / "anlu-alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]:
        zh, slash, en = rule["annotations"]["summary"].partition(" / ")
        assert re.search(r"[\u4e00-\u9fff]", zh)
        assert slash
        assert en
