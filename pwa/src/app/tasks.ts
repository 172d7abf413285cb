// What waits for this person: their own open checks and rounds, rounds missed where they supervise, hazards given to them or to give, parked entries they decide on.
import { computed, type ComputedRef } from "vue";
import { hazardTitle } from "../domains/hazards/words";
import { isMine, isNear, isOpenRound, nextStop, stopsOf, unreached } from "../domains/rounds/rounds";
import { label, span, t, when } from "../i18n";
import type { IconName, LevelName } from "../ui/icons";
import { isCheck, isOpen, levelOf } from "./kinds";
import { areaName, machineTitle, nameOf, refView } from "./names";
import type { Doc } from "./types";
import { useCore, useNow } from "./use";

export interface Task {
  key: string;
  to: string;
  level?: LevelName;
  icon?: IconName;
  what: string;
  where: string;
  long: string;
  small: string;
  late: boolean;
  at: number;
}

export function useTasks(): ComputedRef<Task[]> {
  const core = useCore();
  const now = useNow(30_000);
  const checks = core
    .kinds()
    .map((kind) => kind.kind)
    .filter(isCheck);
  const kinds = [...new Set(checks)];
  const open = kinds.map((kind) => core.list(kind, (doc) => mine(doc)));
  const hazards = core.list("hazard", (doc) => {
    const me = core.me.value;
    if (!me) return false;
    const { status, assignee, area } = doc.view;
    if (status === "assigned") return assignee === me.id;
    if (status === "done") return doc.view.done_by !== me.id && me.has("supervise", area as string);
    return status === "reported" && me.has("supervise", area as string);
  });

  // What waits for a document comes right by itself; the rest waits for somebody's word.
  const parked = core.list("parked", (doc) => {
    const me = core.me.value;
    const { status, author, code } = doc.view;
    return me !== null && status === "waiting" && author !== me.id && me.has("decide_parked") && !String(code).startsWith("op.awaits_");
  });

  const rounds = core.list("round", (doc) => isOpenRound(doc.view));

  const upkeep = core.list(
    "maintenance",
    (doc) => doc.view.status === "due" && core.me.value?.has("check", doc.view.area as string) === true,
  );

  function mine(doc: Doc): boolean {
    const me = core.me.value;
    if (me === null) return false;
    if (doc.view.status === "to_confirm") return doc.view.inspector !== me.id && me.has("supervise", doc.view.area as string);
    return doc.view.inspector === me.id && isOpen(core.kind(doc.view.kind, doc.view.version), doc.view.status);
  }

  return computed(() => {
    const tasks: Task[] = [];
    for (const list of open)
      for (const doc of list.value) {
        const machine = refView("machine", doc.view.machine);
        const at = Number(doc.view.started_at ?? 0);
        tasks.push({
          key: doc.key,
          to: `/checks/${doc.view.kind}/${doc.view.id}`,
          icon: "tasks",
          what: t(doc.view.status === "to_confirm" ? "tasks.decide" : "tasks.check", { what: nameOf(machine) || machineTitle(machine) }),
          where: areaName(doc.view.area),
          long: at ? when(at, now.value) : "",
          small: t("tasks.begun"),
          late: false,
          at,
        });
      }
    for (const doc of hazards.value) {
      const view = doc.view;
      const due = typeof view.due_at === "number" ? view.due_at : null;
      const late = due !== null && due < now.value;
      const at = due ?? Number(view.reported_at ?? 0);
      // There may be thousands: their words are put together where a row shows.
      tasks.push({
        key: doc.key,
        to: `/hazards/${view.id}`,
        level: levelOf(view.grade),
        get what() {
          // What was found, in the words of whoever found it; a check's item says only how it should be.
          const what = view.item && view.note ? String(view.note) : hazardTitle(view);
          return t(view.status === "reported" ? "tasks.assign" : view.status === "done" ? "tasks.review" : "tasks.rectify", { what });
        },
        get where() {
          return areaName(view.area);
        },
        get long() {
          return due === null ? "" : span(due - now.value);
        },
        get small() {
          return due === null ? "" : t(late ? "tasks.late" : "tasks.left");
        },
        late,
        at,
      });
    }
    for (const { key, view } of rounds.value) {
      const me = core.me.value;
      const ends = Number(view.ends_at ?? 0);
      const late = ends <= now.value;
      const left = unreached(view).length;
      const next = nextStop(view);
      if (me === null || !isNear(view, now.value)) continue;
      if (isMine(view, me))
        tasks.push({
          key,
          to: `/rounds/${view.id}`,
          level: late ? "orange" : "yellow",
          what: t(late ? "tasks.missed" : "tasks.round", { what: nameOf(view) }),
          where: next
            ? t("tasks.round_at", { n: stopsOf(view).indexOf(next) + 1, of: stopsOf(view).length, next: label(next.names) })
            : t("tasks.round_end"),
          long: span(ends - now.value),
          small: t(late ? "tasks.late" : "tasks.left"),
          late,
          at: ends,
        });
      else if (late && me.has("supervise", view.area as string))
        tasks.push({
          key,
          to: `/rounds/${view.id}`,
          level: "orange",
          what: t("tasks.missed", { what: nameOf(view) }),
          where: t("tasks.round_missed", { where: areaName(view.area), n: left }),
          long: span(ends - now.value),
          small: t("tasks.late"),
          late,
          at: ends,
        });
    }
    for (const doc of upkeep.value) {
      const at = Number(doc.view.due_since ?? 0);
      const late = doc.view.overdue === true;
      tasks.push({
        key: doc.key,
        to: `/k/${doc.key}`,
        level: late ? "orange" : "yellow",
        what: t("tasks.maintain", { what: String(doc.view.title) }),
        where: machineTitle(refView("machine", doc.view.machine)),
        long: at ? span(now.value - at) : "",
        small: t("tasks.due_for"),
        late,
        at,
      });
    }
    for (const doc of parked.value) {
      const at = Number(doc.view.at ?? 0);
      tasks.push({
        key: doc.key,
        to: `/k/${doc.key}`,
        icon: "wait",
        what: t("tasks.decide", { what: nameOf(doc.view) }),
        where: areaName(doc.view.area),
        long: at ? when(at, now.value) : "",
        small: "",
        late: false,
        at,
      });
    }
    return tasks.sort((a, b) => Number(b.late) - Number(a.late) || a.at - b.at);
  });
}
