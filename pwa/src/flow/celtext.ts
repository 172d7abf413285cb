// The listed subset of CEL: reads a rule's text and writes it again so that both engines must give one answer. Twin of backend/flow/celtext.py,
// which says why and what may be written. Pure.
import { hasOwn } from "../sync/op";

const TEXT_CHARS_MAX = 2_000;
const DEPTH_MAX = 40;

type Type = "bool" | "num" | "str" | "list" | "map" | "null" | "dyn";

/** Name → fewest and most arguments (the receiver counts), and what it gives. */
export const FUNCTIONS: Readonly<Record<string, readonly [number, number, Type]>> = {
  size: [1, 1, "num"],
  matches: [2, 2, "bool"],
  startsWith: [2, 2, "bool"],
  endsWith: [2, 2, "bool"],
  contains: [2, 2, "bool"],
  min: [2, 2, "num"],
  max: [2, 2, "num"],
  abs: [1, 1, "num"],
  floor: [1, 1, "num"],
  ceil: [1, 1, "num"],
  round: [1, 1, "num"],
  seconds: [1, 1, "num"],
  minutes: [1, 1, "num"],
  hours: [1, 1, "num"],
  days: [1, 1, "num"],
  day_start: [1, 1, "num"],
  minute_of_day: [1, 1, "num"],
  shift_start: [1, 1, "num"],
  shift_end: [1, 1, "num"],
  shift_of: [1, 1, "dyn"],
  is_night: [1, 1, "bool"],
  is_rest_day: [1, 1, "bool"],
  is_holiday: [1, 1, "bool"],
  next_window: [4, 4, "dyn"],
  on_duty: [3, 3, "list"],
  limit: [1, 1, "num"],
  distance_m: [2, 2, "dyn"],
  latest: [2, 2, "list"],
  sum: [2, 2, "num"],
  check_item: [1, 1, "map"],
  check_items: [0, 0, "list"],
  open_items: [1, 1, "list"],
  proof_items: [2, 2, "list"],
  spawned: [1, 1, "str"],
};
/** Functions that may also be written `a.f(b)`. */
const METHODS = ["size", "matches", "startsWith", "endsWith", "contains"];
const MACROS = ["exists", "all", "filter", "map"];
const RESERVED = new Set(
  (
    "as break const continue else false for function if import in let loop namespace null package return true var void while " +
    "__proto__ constructor prototype"
  ).split(" "),
);
/** Roots that are a value themselves. */
export const BARE: ReadonlySet<string> = new Set(["now", "value"]);

/** A rule's text is not in the subset, or names what does not exist. `what` is a word, `about` the name or piece. */
export class CelSyntax extends Error {
  constructor(
    readonly what: string,
    readonly about = "",
  ) {
    super(about ? `${what}: ${about}` : what);
  }
}

/** A name that a rule reads: `doc.area` is (doc, area, []), `uses.machine.area` is (uses, machine, [area]). */
export interface Ref {
  root: string;
  name: string;
  fields: string[];
}

/** A rule as the engine gets it. */
export interface Text {
  source: string;
  text: string;
  type: Type;
  refs: Ref[];
  functions: string[];
  caps: string[];
}

/** Root → the names that stand under it; null where any may (what is missing is an error when it runs). */
export type Scope = Readonly<Record<string, ReadonlySet<string> | null>>;

/** Read a rule. Throws CelSyntax. */
export function read(source: string, scope: Scope): Text {
  if ([...source].length > TEXT_CHARS_MAX) throw new CelSyntax("long");
  const parser = new Parser(tokens(source), scope);
  const [text, type] = parser.expression();
  parser.end();
  const refs = new Map<string, { root: string; name: string; fields: Set<string> }>();
  for (const [root, name, field] of parser.refs.values()) {
    const key = `${root} ${name}`;
    const ref = refs.get(key) ?? { root, name, fields: new Set() };
    if (field) ref.fields.add(field);
    refs.set(key, ref);
  }
  return {
    source,
    text,
    type,
    refs: [...refs.values()].map((ref) => ({ ...ref, fields: [...ref.fields].sort() })),
    functions: [...parser.functions].sort(),
    caps: [...parser.caps].sort(),
  };
}

type Sort = "number" | "name" | "text" | "sign";
type Token = readonly [Sort, string];
type Path = readonly [root: string, name: string, field: string];
type Part = readonly [text: string, type: Type];

const TOKEN =
  /[ \t\r\n]+|(?<number>[0-9]+(?:\.[0-9]+)?(?![0-9A-Za-z_.]))|(?<name>[A-Za-z_][A-Za-z0-9_]*)|(?<text>"(?:[^"\\\r\n]|\\["'\\nt])*"|'(?:[^'\\\r\n]|\\["'\\nt])*')|(?<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()[\]{}])/uy;

function tokens(source: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(source);
    if (!match) throw new CelSyntax("sign", String.fromCodePoint(source.codePointAt(at) ?? 0));
    for (const sort of ["number", "name", "text", "sign"] as const) {
      const token = match.groups?.[sort];
      if (token !== undefined) found.push([sort, token]);
    }
  }
  return found;
}

function unquote(token: string): string {
  return token.slice(1, -1).replace(/\\(.)/gu, (_, sign: string) => (sign === "n" ? "\n" : sign === "t" ? "\t" : sign));
}

/** A text as both engines read it. */
function quote(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n").replaceAll("\t", "\\t")}"`;
}

class Parser {
  private at = 0;
  private depth = 0;
  private bound: string[] = [];
  readonly refs = new Map<string, Path>();
  readonly functions = new Set<string>();
  readonly caps = new Set<string>();

  constructor(
    private readonly tokens: Token[],
    private readonly scope: Scope,
  ) {}

  expression(): Part {
    if (++this.depth > DEPTH_MAX) throw new CelSyntax("deep");
    let [text, type] = this.either();
    if (this.take("?")) {
      must(type, "bool");
      const [yes, yesType] = this.expression();
      this.expect(":");
      const [no, noType] = this.expression();
      text = `(${text} ? ${this.apart(yes, yesType, noType)} : ${no})`;
      type = yesType === noType ? yesType : "dyn";
    }
    this.depth--;
    return [text, type];
  }

  end(): void {
    const left = this.tokens[this.at];
    if (left) throw new CelSyntax("sign", left[1]);
  }

  private either(): Part {
    let [text, type] = this.both();
    while (this.take("||")) {
      must(type, "bool");
      [text, type] = [`(${text} ? true : ${this.bool(this.both())})`, "bool"];
    }
    return [text, type];
  }

  private both(): Part {
    let [text, type] = this.relation();
    while (this.take("&&")) {
      must(type, "bool");
      [text, type] = [`(${text} ? ${this.bool(this.relation())} : false)`, "bool"];
    }
    return [text, type];
  }

  private relation(): Part {
    const [left, leftType] = this.sum();
    const sign = this.take("==", "!=", "<", "<=", ">", ">=") || (this.takeName("in") ? "in" : "");
    if (!sign) return [left, leftType];
    const [right, rightType] = this.sum();
    const next = this.tokens[this.at];
    if (this.peek("==", "!=", "<", "<=", ">", ">=") || (next?.[0] === "name" && next[1] === "in")) throw new CelSyntax("chain", sign);
    if (sign === "in") {
      must(rightType, "list");
      return [this.call("in", left, right), "bool"];
    }
    if (sign === "==" || sign === "!=") {
      if (leftType !== rightType && ![leftType, rightType].some((type) => type === "dyn" || type === "null"))
        throw new CelSyntax("type", sign);
      return [`(${this.apart(left, leftType, rightType)} ${sign} ${right})`, "bool"];
    }
    if (leftType === "num" || rightType === "num") {
      must(leftType, "num");
      must(rightType, "num");
      return [`(${left} ${sign} ${right})`, "bool"];
    }
    must(leftType, "str");
    must(rightType, "str");
    return [this.call({ "<": "lt", "<=": "le", ">": "gt" }[sign] ?? "ge", left, right), "bool"];
  }

  private sum(): Part {
    let [left, type] = this.product();
    for (let sign = this.take("+", "-"); sign; sign = this.take("+", "-")) {
      const [right, rightType] = this.product();
      if (sign === "-") {
        must(type, "num");
        must(rightType, "num");
        [left, type] = [this.call("sub", left, right), "num"];
      } else {
        const known = [...new Set([type, rightType])].filter((one) => one !== "dyn");
        if (known.length > 1 || known.some((one) => one !== "num" && one !== "str" && one !== "list")) throw new CelSyntax("type", sign);
        [left, type] = [this.call("add", left, right), known[0] ?? "dyn"];
      }
    }
    return [left, type];
  }

  private product(): Part {
    let [left, type] = this.unary();
    for (let sign = this.take("*", "/", "%"); sign; sign = this.take("*", "/", "%")) {
      const [right, rightType] = this.unary();
      must(type, "num");
      must(rightType, "num");
      [left, type] = [this.call(sign === "*" ? "mul" : sign === "/" ? "div" : "mod", left, right), "num"];
    }
    return [left, type];
  }

  private unary(): Part {
    if (++this.depth > DEPTH_MAX) throw new CelSyntax("deep");
    try {
      if (this.take("!")) {
        const [text, type] = this.unary();
        must(type, "bool");
        return [text.startsWith("(") ? `!${text}` : `!(${text})`, "bool"];
      }
      if (this.take("-")) {
        const [text, type] = this.unary();
        must(type, "num");
        return [this.call("neg", text), "num"];
      }
      return this.postfix();
    } finally {
      this.depth--;
    }
  }

  private postfix(): Part {
    let [text, type, ref] = this.primary();
    for (;;) {
      if (this.take("[")) {
        const [index] = this.expression();
        this.expect("]");
        [text, type, ref] = [this.call("at", text, index), "dyn", null];
      } else if (this.take(".")) {
        const name = this.name();
        if (this.peek("(")) {
          [text, type] = this.method(text, type, name);
          ref = null;
          continue;
        }
        if (type !== "map" && type !== "dyn") throw new CelSyntax("type", name);
        if (ref && ref[0] === "check_item") {
          // One entry, not the whole item: a map costs its way through the twin's engine.
          [text, type, ref] = [this.call("item", ref[1], quote(name)), "dyn", null];
          continue;
        }
        ref = ref && ref[0] === "uses" && !ref[2] ? this.refer(ref[0], ref[1], name) : null;
        [text, type] = [`${text}.${name}`, "dyn"];
      } else {
        return [text, type];
      }
    }
  }

  private primary(): [text: string, type: Type, ref: Path | null] {
    const found = this.tokens[this.at];
    if (!found) throw new CelSyntax("end");
    const [sort, token] = found;
    this.at++;
    if (sort === "number") return [token.includes(".") ? token : `${token}.0`, "num", null];
    if (sort === "text") return [quote(unquote(token)), "str", null];
    if (token === "(") {
      const [text, type] = this.expression();
      this.expect(")");
      return [text.startsWith("(") && type === "bool" ? text : `(${text})`, type, null];
    }
    if (token === "[") {
      const parts: string[] = [];
      while (!this.take("]")) {
        parts.push(this.expression()[0]);
        if (!this.peek("]")) this.expect(",");
      }
      return [`[${parts.join(", ")}]`, "list", null];
    }
    if (token === "{") return [this.map(), "map", null];
    if (sort !== "name") throw new CelSyntax("sign", token);
    if (token === "true" || token === "false") return [token, "bool", null];
    if (token === "null") return [token, "null", null];
    if (this.bound.includes(token)) return [token, "dyn", null];
    if (RESERVED.has(token)) throw new CelSyntax("name", token);
    if (this.peek("(")) {
      const [text, type] = this.func(token);
      return [text, type, token === "check_item" ? [token, text.slice("_check_item(".length, -1), ""] : null];
    }
    return this.root(token);
  }

  private map(): string {
    const parts: string[] = [];
    const keys = new Set<string>();
    while (!this.take("}")) {
      const [sort, token] = this.tokens[this.at] ?? ["", ""];
      const key = sort === "text" ? unquote(token) : "";
      if (sort !== "text" || keys.has(key) || RESERVED.has(key)) throw new CelSyntax("key", token);
      keys.add(key);
      this.at++;
      this.expect(":");
      parts.push(quote(key), this.expression()[0]);
      if (!this.peek("}")) this.expect(",");
    }
    // The twin's engine judges a map's entries in no order, and another failure would come first each time: a list has an order.
    return this.call("map", `[${parts.join(", ")}]`);
  }

  private root(root: string): [text: string, type: Type, ref: Path | null] {
    const names = hasOwn(this.scope, root) ? this.scope[root] : undefined;
    if (names === undefined) throw new CelSyntax("name", root);
    if (BARE.has(root)) {
      this.refer(root, "", "");
      return [root, root === "now" ? "num" : "dyn", null];
    }
    this.expect(".");
    const name = this.name();
    if (root === "actor" && name === "has" && this.peek("(")) return [this.may(), "bool", null];
    if (names !== null && !names.has(name)) throw new CelSyntax("name", `${root}.${name}`);
    return [`${root}__${name}`, "dyn", this.refer(root, name, "")];
  }

  private may(): string {
    this.expect("(");
    const [sort, token] = this.tokens[this.at] ?? ["", ""];
    if (sort !== "text") throw new CelSyntax("cap", token);
    this.at++;
    const cap = unquote(token);
    this.caps.add(cap);
    if (this.take(")")) return this.call("may_anywhere", quote(cap));
    this.expect(",");
    const [area] = this.expression();
    this.expect(")");
    return this.call("may", quote(cap), area);
  }

  private func(name: string): Part {
    if (name === "has") return [this.has(), "bool"];
    if (!hasOwn(FUNCTIONS, name)) throw new CelSyntax("function", name);
    this.expect("(");
    return this.checked(name, this.args());
  }

  private method(text: string, type: Type, name: string): Part {
    if (MACROS.includes(name)) {
      must(type, "list");
      this.expect("(");
      const variable = this.name();
      if (this.bound.includes(variable) || hasOwn(this.scope, variable) || variable.startsWith("_")) throw new CelSyntax("name", variable);
      this.expect(",");
      this.bound.push(variable);
      const body = this.expression();
      this.bound.pop();
      this.expect(")");
      const items = type === "list" && !text.replace(/^\(+/, "").startsWith("[") ? text : this.call("list", text);
      if (name === "map") return [`${items}.map(${variable}, ${body[0]})`, "list"];
      const holds = this.bool(body);
      if (name === "filter") return [`${items}.filter(${variable}, ${holds})`, "list"];
      if (name === "exists") return [`(${items}.filter(${variable}, ${holds}) != [])`, "bool"];
      return [`(${items}.filter(${variable}, !(${holds})) == [])`, "bool"];
    }
    if (!METHODS.includes(name)) throw new CelSyntax("function", name);
    this.expect("(");
    return this.checked(name, [[text, type], ...this.args()]);
  }

  private checked(name: string, args: Part[]): Part {
    const [fewest, most, gives] = FUNCTIONS[name] as readonly [number, number, Type];
    if (args.length < fewest || args.length > most) throw new CelSyntax("arguments", name);
    if (name === "matches") {
      const pattern = this.tokens[this.at - 2];
      if (pattern?.[0] !== "text" || args[1]?.[0] !== quote(unquote(pattern[1]))) throw new CelSyntax("pattern", name);
      checkPattern(unquote(pattern[1]));
    }
    return [this.call(name, ...args.map(([text]) => text)), gives];
  }

  private has(): string {
    this.expect("(");
    const [text] = this.postfix();
    this.expect(")");
    if (/^[a-z]+__[A-Za-z0-9_]+$/.test(text)) return `(${text} != null)`;
    const dot = text.lastIndexOf(".");
    const [head, name] = [text.slice(0, dot), text.slice(dot + 1)];
    if (dot < 0 || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new CelSyntax("has", text);
    if (/^uses__[A-Za-z0-9_]+$/.test(head)) return `(${head} == null ? false : ${text} != null)`;
    return this.call("has", head, quote(name));
  }

  private args(): Part[] {
    const found: Part[] = [];
    while (!this.take(")")) {
      found.push(this.expression());
      if (!this.peek(")")) this.expect(",");
    }
    return found;
  }

  private call(name: string, ...args: string[]): string {
    this.functions.add(name);
    return `_${name}(${args.join(", ")})`;
  }

  private bool([text, type]: Part): string {
    must(type, "bool");
    return type === "bool" ? text : this.call("bool", text);
  }

  /** This engine looks at the types that literals show beforehand and refuses what the twin evaluates: `any` hides them. */
  private apart(text: string, type: Type, other: Type): string {
    const known = type !== "dyn" && other !== "dyn";
    return known && (type !== other || type === "list") ? this.call("any", text) : text;
  }

  private refer(root: string, name: string, field: string): Path {
    const path: Path = [root, name, field];
    this.refs.set(path.join(" "), path);
    return path;
  }

  private name(): string {
    const [sort, token] = this.tokens[this.at] ?? ["", ""];
    if (sort !== "name" || RESERVED.has(token) || token.includes("__")) throw new CelSyntax("name", token);
    this.at++;
    return token;
  }

  private peek(...signs: string[]): boolean {
    const found = this.tokens[this.at];
    return found?.[0] === "sign" && signs.includes(found[1]);
  }

  private take(...signs: string[]): string {
    if (!this.peek(...signs)) return "";
    this.at++;
    return this.tokens[this.at - 1]?.[1] ?? "";
  }

  private takeName(name: string): boolean {
    const found = this.tokens[this.at];
    if (found?.[0] !== "name" || found[1] !== name) return false;
    this.at++;
    return true;
  }

  private expect(sign: string): void {
    if (!this.take(sign)) throw new CelSyntax("expected", sign);
  }
}

function must(type: Type, wanted: Type): void {
  if (type !== wanted && type !== "dyn") throw new CelSyntax("type", type);
}

// Patterns: what Python's and JavaScript's expressions read alike, and neither can be made to hang by.

const UNBOUNDED_MAX = 2;
const PATTERN =
  /(?<edge>[\^$])|(?<set>\[\^?(?:[^[\]\\^-]|\\[dw.[\]\\/+*?(){}|^$-])(?:[^[\]\\^]|\\[dw.[\]\\/+*?(){}|^$-])*\])|(?<open>\((?:\?:)?)|(?<close>\))|(?<bar>\|)|(?<many>[*+]|\{[0-9]{1,3},\})|(?<some>\?|\{[0-9]{1,3}(?:,[0-9]{1,3})?\})|(?<one>\\[dw.[\]\\/+*?(){}|^$]|[^\\[\](){}*+?|^$])/uy;

/** The pattern with `.` as every sign but a line's end. Throws CelSyntax unless it is plain: see the twin. */
export function checkPattern(pattern: string): string {
  let depth = 0;
  let unbounded = 0;
  let before = "";
  let written = "";
  PATTERN.lastIndex = 0;
  while (PATTERN.lastIndex < pattern.length) {
    const match = PATTERN.exec(pattern);
    if (!match) throw new CelSyntax("pattern", pattern);
    const token = match[0];
    const sort = Object.entries(match.groups ?? {}).find(([, found]) => found !== undefined)?.[0] ?? "";
    depth += sort === "open" ? 1 : sort === "close" ? -1 : 0;
    unbounded += sort === "many" ? 1 : 0;
    const repeated = (sort === "many" || sort === "some") && before !== "set" && before !== "one" && !(before === "close" && token === "?");
    if (depth < 0 || unbounded > UNBOUNDED_MAX || repeated) throw new CelSyntax("pattern", pattern);
    written += sort === "one" && token === "." ? "[^\\n]" : token;
    before = sort;
  }
  if (depth) throw new CelSyntax("pattern", pattern);
  try {
    new RegExp(written, "u");
  } catch {
    throw new CelSyntax("pattern", pattern);
  }
  return written;
}
