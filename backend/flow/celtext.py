"""The listed subset of CEL: reads a rule's text and writes it again so that both engines must give one answer.
Twin of pwa/src/flow/celtext.ts.

The engines (`common-expression-language` here, `@marcbachmann/cel-js` on the phone) were found to differ in integers against doubles,
the order of text, `size`, division, errors under `||` and `exists`, maps as ranges, keys that are missing. So every rule is read here
first, and what the engine is given has only what was found equal:

- literals are doubles; `+ - * / %`, ordering of what is not a number for sure, `in`, `[ ]` and every function are calls of ours;
- `a && b` is `a ? b : false`, `a || b` is `a ? true : b`: left to right, and an error is an error (never a yes);
- `exists`/`all` are `filter` compared with `[]`: every element is judged, an error in one is an error;
- `doc.x` becomes the variable `doc__x`, so that only what a rule reads is handed over; what is not in the kind is an error when it is read.

What may be written: numbers, texts, true false null, lists, maps with text keys, `? :`, `|| && !`, `== != < <= > >=`, `in`, `+ - * / %`,
`a.b`, `a[b]`, `has(a.b)`, `l.exists(x, …)`, `l.all(x, …)`, `l.filter(x, …)`, `l.map(x, …)`, and the functions of `FUNCTIONS`.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

TEXT_CHARS_MAX = 2_000
DEPTH_MAX = 40

FUNCTIONS: dict[str, tuple[int, int, str]] = {
    "size": (1, 1, "num"),
    "matches": (2, 2, "bool"),
    "startsWith": (2, 2, "bool"),
    "endsWith": (2, 2, "bool"),
    "contains": (2, 2, "bool"),
    "min": (2, 2, "num"),
    "max": (2, 2, "num"),
    "abs": (1, 1, "num"),
    "floor": (1, 1, "num"),
    "ceil": (1, 1, "num"),
    "round": (1, 1, "num"),
    "seconds": (1, 1, "num"),
    "minutes": (1, 1, "num"),
    "hours": (1, 1, "num"),
    "days": (1, 1, "num"),
    "day_start": (1, 1, "num"),
    "minute_of_day": (1, 1, "num"),
    "shift_start": (1, 1, "num"),
    "shift_end": (1, 1, "num"),
    "shift_of": (1, 1, "dyn"),
    "is_night": (1, 1, "bool"),
    "is_rest_day": (1, 1, "bool"),
    "is_holiday": (1, 1, "bool"),
    "next_window": (4, 4, "dyn"),
    "on_duty": (3, 3, "list"),
    "limit": (1, 1, "num"),
    "distance_m": (2, 2, "dyn"),
    "latest": (2, 2, "list"),
    "sum": (2, 2, "num"),
    "check_item": (1, 1, "map"),
    "check_items": (0, 0, "list"),
    "open_items": (1, 1, "list"),
    "proof_items": (2, 2, "list"),
    "spawned": (1, 1, "str"),
}
"""Name → fewest and most arguments (the receiver counts), and what it gives."""

METHODS = ("size", "matches", "startsWith", "endsWith", "contains")
"""Functions that may also be written `a.f(b)`."""

MACROS = ("exists", "all", "filter", "map")
_OF_CEL = "as break const continue else false for function if import in let loop namespace null package return true var void while"
RESERVED = frozenset([*_OF_CEL.split(), "__proto__", "constructor", "prototype"])
BARE = frozenset({"now", "value"})
"""Roots that are a value themselves."""


class CelSyntax(ValueError):
    """A rule's text is not in the subset, or names what does not exist. `what` is a word, `about` the name or piece."""

    def __init__(self, what: str, about: str = "") -> None:
        super().__init__(f"{what}: {about}" if about else what)
        self.what = what
        self.about = about


class Ref(msgspec.Struct, frozen=True, order=True):
    """A name that a rule reads: `doc.area` is (doc, area, ()), `uses.machine.area` is (uses, machine, (area,))."""

    root: str
    name: str
    fields: tuple[str, ...] = ()


class Text(msgspec.Struct, frozen=True):
    """A rule as the engine gets it."""

    source: str
    text: str
    type: str
    refs: tuple[Ref, ...]
    functions: tuple[str, ...]
    caps: tuple[str, ...]


Scope = Mapping[str, Iterable[str] | None]
"""Root → the names that stand under it; None where any may (what is missing is an error when it runs)."""


def read(source: str, scope: Scope) -> Text:
    """Read a rule. Raises CelSyntax."""
    if len(source) > TEXT_CHARS_MAX:
        raise CelSyntax("long")
    parser = _Parser(_tokens(source), {root: None if names is None else frozenset(names) for root, names in scope.items()})
    text, kind = parser.expression()
    parser.end()
    refs: dict[tuple[str, str], set[str]] = {}
    for root, name, field in parser.refs:
        refs.setdefault((root, name), set()).update([field] if field else [])
    return Text(
        source=source,
        text=text,
        type=kind,
        refs=tuple(Ref(root, name, tuple(sorted(fields))) for (root, name), fields in sorted(refs.items())),
        functions=tuple(sorted(parser.functions)),
        caps=tuple(sorted(parser.caps)),
    )


_TOKEN = re.compile(
    r"""[ \t\r\n]+|(?P<number>[0-9]+(?:\.[0-9]+)?(?![0-9A-Za-z_.]))|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<text>"(?:[^"\\\r\n]|\\["'\\nt])*"|'(?:[^'\\\r\n]|\\["'\\nt])*')|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])"""
)
_ESCAPES = {"n": "\n", "t": "\t"}
Token = tuple[str, str]


def _tokens(source: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise CelSyntax("sign", source[at : at + 1])
        if match.lastgroup:
            found.append((match.lastgroup, match.group()))
        at = match.end()
    return found


def _unquote(word: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), word[1:-1])


def quote(text: str) -> str:
    """A text as both engines read it."""
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, written)
    return f'"{text}"'


class _Parser:
    def __init__(self, tokens: list[Token], scope: dict[str, frozenset[str] | None]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.scope = scope
        self.bound: list[str] = []
        self.refs: set[tuple[str, str, str]] = set()
        self.functions: set[str] = set()
        self.caps: set[str] = set()

    def expression(self) -> tuple[str, str]:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise CelSyntax("deep")
        text, kind = self._either()
        if self._take("?"):
            self._must(kind, "bool")
            yes, yes_kind = self.expression()
            self._expect(":")
            no, no_kind = self.expression()
            text, kind = f"({text} ? {self._apart(yes, yes_kind, no_kind)} : {no})", yes_kind if yes_kind == no_kind else "dyn"
        self.depth -= 1
        return text, kind

    def end(self) -> None:
        if self.at < len(self.tokens):
            raise CelSyntax("sign", self.tokens[self.at][1])

    def _either(self) -> tuple[str, str]:
        text, kind = self._both()
        while self._take("||"):
            self._must(kind, "bool")
            text, kind = f"({text} ? true : {self._bool(self._both())})", "bool"
        return text, kind

    def _both(self) -> tuple[str, str]:
        text, kind = self._relation()
        while self._take("&&"):
            self._must(kind, "bool")
            text, kind = f"({text} ? {self._bool(self._relation())} : false)", "bool"
        return text, kind

    def _relation(self) -> tuple[str, str]:
        left, left_kind = self._sum()
        sign = self._take("==", "!=", "<", "<=", ">", ">=") or (self._take_name("in") and "in")
        if not sign:
            return left, left_kind
        right, right_kind = self._sum()
        if self._peek("==", "!=", "<", "<=", ">", ">=") or self.tokens[self.at : self.at + 1] == [("name", "in")]:
            raise CelSyntax("chain", sign)
        if sign == "in":
            self._must(right_kind, "list")
            return self._call("in", left, right), "bool"
        if sign in ("==", "!="):
            if "dyn" not in (left_kind, right_kind) and left_kind != right_kind and "null" not in (left_kind, right_kind):
                raise CelSyntax("type", sign)
            return f"({self._apart(left, left_kind, right_kind)} {sign} {right})", "bool"
        if "num" in (left_kind, right_kind):
            self._must(left_kind, "num")
            self._must(right_kind, "num")
            return f"({left} {sign} {right})", "bool"
        for kind in (left_kind, right_kind):
            self._must(kind, "str")
        return self._call({"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}[sign], left, right), "bool"

    def _sum(self) -> tuple[str, str]:
        left, kind = self._product()
        while sign := self._take("+", "-"):
            right, right_kind = self._product()
            if sign == "-":
                self._must(kind, "num")
                self._must(right_kind, "num")
                left, kind = self._call("sub", left, right), "num"
            else:
                known = {kind, right_kind} - {"dyn"}
                if len(known) > 1 or known - {"num", "str", "list"}:
                    raise CelSyntax("type", sign)
                left, kind = self._call("add", left, right), known.pop() if known else "dyn"
        return left, kind

    def _product(self) -> tuple[str, str]:
        left, kind = self._unary()
        while sign := self._take("*", "/", "%"):
            right, right_kind = self._unary()
            self._must(kind, "num")
            self._must(right_kind, "num")
            left, kind = self._call({"*": "mul", "/": "div", "%": "mod"}[sign], left, right), "num"
        return left, kind

    def _unary(self) -> tuple[str, str]:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise CelSyntax("deep")
        try:
            if self._take("!"):
                text, kind = self._unary()
                self._must(kind, "bool")
                return f"!{text}" if text.startswith("(") else f"!({text})", "bool"
            if self._take("-"):
                text, kind = self._unary()
                self._must(kind, "num")
                return self._call("neg", text), "num"
            return self._postfix()
        finally:
            self.depth -= 1

    def _postfix(self) -> tuple[str, str]:
        text, kind, ref = self._primary()
        while True:
            if self._take("["):
                index, _ = self.expression()
                self._expect("]")
                text, kind, ref = self._call("at", text, index), "dyn", None
            elif self._take("."):
                name = self._name()
                if self._peek("("):
                    text, kind, ref = *self._method(text, kind, name), None
                else:
                    if kind not in ("map", "dyn"):
                        raise CelSyntax("type", name)
                    if ref and ref[0] == "check_item":
                        # One entry, not the whole item: a map costs its way through the engine.
                        text, kind, ref = self._call("item", ref[1], quote(name)), "dyn", None
                        continue
                    if ref and ref[0] == "uses" and not ref[2]:
                        self.refs.add((ref[0], ref[1], name))
                        ref = (ref[0], ref[1], name)
                    else:
                        ref = None
                    text, kind = f"{text}.{name}", "dyn"
            else:
                return text, kind

    def _primary(self) -> tuple[str, str, tuple[str, str, str] | None]:
        if self.at >= len(self.tokens):
            raise CelSyntax("end")
        sort, word = self.tokens[self.at]
        self.at += 1
        if sort == "number":
            return word if "." in word else f"{word}.0", "num", None
        if sort == "text":
            return quote(_unquote(word)), "str", None
        if word == "(":
            text, kind = self.expression()
            self._expect(")")
            return text if text.startswith("(") and kind == "bool" else f"({text})", kind, None
        if word == "[":
            parts = []
            while not self._take("]"):
                parts.append(self.expression()[0])
                if not self._peek("]"):
                    self._expect(",")
            return f"[{', '.join(parts)}]", "list", None
        if word == "{":
            return self._map(), "map", None
        if sort != "name":
            raise CelSyntax("sign", word)
        if word in ("true", "false"):
            return word, "bool", None
        if word == "null":
            return word, "null", None
        if word in self.bound:
            return word, "dyn", None
        if word in RESERVED:
            raise CelSyntax("name", word)
        if self._peek("("):
            text, kind = self._function(word)
            return text, kind, ("check_item", text[len("_check_item(") : -1], "") if word == "check_item" else None
        return self._root(word)

    def _map(self) -> str:
        parts = []
        keys = set()
        while not self._take("}"):
            sort, word = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
            key = _unquote(word) if sort == "text" else ""
            if sort != "text" or key in keys or key in RESERVED:
                raise CelSyntax("key", word)
            keys.add(key)
            self.at += 1
            self._expect(":")
            parts += [quote(key), self.expression()[0]]
            if not self._peek("}"):
                self._expect(",")
        # One engine judges a map's entries in no order, and another failure would come first each time: a list has an order.
        return self._call("map", f"[{', '.join(parts)}]")

    def _root(self, root: str) -> tuple[str, str, tuple[str, str, str] | None]:
        if root not in self.scope:
            raise CelSyntax("name", root)
        if root in BARE:
            self.refs.add((root, "", ""))
            return root, "num" if root == "now" else "dyn", None
        self._expect(".")
        name = self._name()
        if root == "actor" and name == "has" and self._peek("("):
            return *self._may(), None
        names = self.scope[root]
        if names is not None and name not in names:
            raise CelSyntax("name", f"{root}.{name}")
        self.refs.add((root, name, ""))
        return f"{root}__{name}", "dyn", (root, name, "")

    def _may(self) -> tuple[str, str]:
        self._expect("(")
        sort, word = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if sort != "text":
            raise CelSyntax("cap", word)
        self.at += 1
        cap = _unquote(word)
        self.caps.add(cap)
        if self._take(")"):
            return self._call("may_anywhere", quote(cap)), "bool"
        self._expect(",")
        area, _ = self.expression()
        self._expect(")")
        return self._call("may", quote(cap), area), "bool"

    def _function(self, name: str) -> tuple[str, str]:
        if name == "has":
            return self._has(), "bool"
        if name not in FUNCTIONS:
            raise CelSyntax("function", name)
        self._expect("(")
        return self._checked(name, self._arguments())

    def _method(self, text: str, kind: str, name: str) -> tuple[str, str]:
        if name in MACROS:
            self._must(kind, "list")
            self._expect("(")
            variable = self._name()
            if variable in self.bound or variable in self.scope or "__" in variable or variable.startswith("_"):
                raise CelSyntax("name", variable)
            self._expect(",")
            self.bound.append(variable)
            body, body_kind = self.expression()
            self.bound.pop()
            self._expect(")")
            items = text if kind == "list" and not text.lstrip("(").startswith("[") else self._call("list", text)
            if name == "map":
                return f"{items}.map({variable}, {body})", "list"
            body = self._bool((body, body_kind))
            if name == "filter":
                return f"{items}.filter({variable}, {body})", "list"
            if name == "exists":
                return f"({items}.filter({variable}, {body}) != [])", "bool"
            return f"({items}.filter({variable}, !({body})) == [])", "bool"
        if name not in METHODS:
            raise CelSyntax("function", name)
        self._expect("(")
        return self._checked(name, [(text, kind), *self._arguments()])

    def _checked(self, name: str, arguments: list[tuple[str, str]]) -> tuple[str, str]:
        fewest, most, gives = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            raise CelSyntax("arguments", name)
        if name == "matches":
            pattern = self.tokens[self.at - 2]
            if pattern[0] != "text" or arguments[1][0] != quote(_unquote(pattern[1])):
                raise CelSyntax("pattern", name)
            check_pattern(_unquote(pattern[1]))
        return self._call(name, *(text for text, _ in arguments)), gives

    def _has(self) -> str:
        self._expect("(")
        text, _ = self._postfix()
        self._expect(")")
        head, dot, name = text.rpartition(".")
        if re.fullmatch(r"[a-z]+__\w+", text):
            return f"({text} != null)"
        if not dot or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise CelSyntax("has", text)
        if re.fullmatch(r"uses__\w+", head):
            return f"({head} == null ? false : {text} != null)"
        return self._call("has", head, quote(name))

    def _arguments(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while not self._take(")"):
            found.append(self.expression())
            if not self._peek(")"):
                self._expect(",")
        return found

    def _call(self, name: str, *arguments: str) -> str:
        self.functions.add(name)
        return f"_{name}({', '.join(arguments)})"

    def _bool(self, part: tuple[str, str]) -> str:
        text, kind = part
        self._must(kind, "bool")
        return text if kind == "bool" else self._call("bool", text)

    def _apart(self, text: str, kind: str, other: str) -> str:
        """One engine looks at the types that literals show beforehand and refuses what the other evaluates: `any` hides them."""
        if "dyn" not in (kind, other) and (kind != other or kind == "list"):
            return self._call("any", text)
        return text

    def _must(self, kind: str, wanted: str) -> None:
        if kind not in (wanted, "dyn"):
            raise CelSyntax("type", kind)

    def _name(self) -> str:
        sort, word = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if sort != "name" or word in RESERVED or "__" in word:
            raise CelSyntax("name", word)
        self.at += 1
        return word

    def _peek(self, *signs: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][0] == "sign" and self.tokens[self.at][1] in signs

    def _take(self, *signs: str) -> str:
        if not self._peek(*signs):
            return ""
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _take_name(self, name: str) -> bool:
        if self.tokens[self.at : self.at + 1] == [("name", name)]:
            self.at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise CelSyntax("expected", sign)


# --- patterns: what Python's and JavaScript's expressions read alike, and neither can be made to hang by

UNBOUNDED_MAX = 2
_PATTERN = re.compile(
    r"""(?P<edge>[\^$])|(?P<set>\[\^?(?:[^\[\]\\^-]|\\[dw.\[\]\\/+*?(){}|^$-])(?:[^\[\]\\^]|\\[dw.\[\]\\/+*?(){}|^$-])*\])|(?P<open>\((?:\?:)?)|(?P<close>\))"""
    r"""|(?P<bar>\|)|(?P<many>[*+]|\{[0-9]{1,3},\})|(?P<some>\?|\{[0-9]{1,3}(?:,[0-9]{1,3})?\})|(?P<one>\\[dw.\[\]\\/+*?(){}|^$]|[^\\\[\](){}*+?|^$])"""
)


def check_pattern(pattern: str) -> str:
    """The pattern with `.` as every sign but a line's end. Raises CelSyntax unless it is plain: no look-around, no back-reference,
    no repeated group, at most two open ends."""
    at = depth = unbounded = 0
    before = written = ""
    while at < len(pattern):
        match = _PATTERN.match(pattern, at)
        sort = (match.lastgroup or "") if match else ""
        word = match.group() if match else ""
        depth += (sort == "open") - (sort == "close")
        unbounded += sort == "many"
        repeated = sort in ("many", "some") and before not in ("set", "one") and not (before == "close" and word == "?")
        if match is None or depth < 0 or unbounded > UNBOUNDED_MAX or repeated:
            raise CelSyntax("pattern", pattern)
        written += "[^\\n]" if sort == "one" and word == "." else word
        before = sort
        at = match.end()
    try:
        re.compile(written)
    except re.error:
        raise CelSyntax("pattern", pattern) from None
    if depth:
        raise CelSyntax("pattern", pattern)
    return written
