import { watch } from "vue";
import { createRouter, createWebHistory, type RouteRecordRaw } from "vue-router";
import Today from "./screens/Today.vue";
import { useCore } from "./use";

declare module "vue-router" {
  interface RouteMeta {
    /** reached without an unlocked person */
    open?: boolean;
    /** shows the bottom bar */
    bar?: boolean;
    /** made for a desk's screen: neither the phone's width nor its bar */
    desk?: boolean;
  }
}

export const routes: RouteRecordRaw[] = [
  { path: "/", name: "today", component: Today, meta: { bar: true } },
  { path: "/alarms", name: "alarms", component: () => import("./screens/Alarms.vue"), meta: { bar: true } },
  { path: "/tasks", name: "tasks", component: () => import("./screens/Tasks.vue"), meta: { bar: true } },
  { path: "/me", name: "me", component: () => import("./screens/Me.vue"), meta: { bar: true } },
  { path: "/outbox", name: "outbox", component: () => import("./screens/Outbox.vue") },
  { path: "/devices", name: "devices", component: () => import("./screens/Devices.vue") },
  { path: "/take-in", name: "take-in", component: () => import("./screens/TakeIn.vue") },
  { path: "/import", name: "import", component: () => import("../domains/integrations/Import.vue") },
  { path: "/scan", name: "scan", component: () => import("../scan/Scan.vue") },
  { path: "/t/:code", name: "tag", component: () => import("../scan/Door.vue") },

  { path: "/machines/:id", name: "machine", component: () => import("../domains/equipment/Machine.vue") },
  { path: "/t/:code/bind", name: "bind", component: () => import("../domains/equipment/Bind.vue") },
  { path: "/labels", name: "labels", component: () => import("../domains/equipment/Labels.vue") },
  { path: "/machines/:id/clear/:fault", name: "clear", component: () => import("../domains/equipment/Clear.vue") },
  { path: "/checks/:kind/:id", name: "check", component: () => import("../domains/equipment/Check.vue") },
  { path: "/checks/:kind/:id/result", name: "result", component: () => import("../domains/equipment/Result.vue") },
  { path: "/rounds", name: "rounds", component: () => import("../domains/rounds/Rounds.vue") },
  { path: "/duty", name: "duty", component: () => import("../domains/rounds/Duty.vue") },
  { path: "/rounds/:id", name: "round", component: () => import("../domains/rounds/Round.vue") },
  { path: "/hazards", name: "hazards", component: () => import("../domains/hazards/Hazards.vue") },
  { path: "/hazards/new", name: "snap", component: () => import("../domains/hazards/Snap.vue") },
  { path: "/hazards/:id", name: "hazard", component: () => import("../domains/hazards/Hazard.vue") },

  {
    path: "/desk",
    component: () => import("../desk/Desk.vue"),
    meta: { desk: true },
    children: [
      { path: "", name: "desk", redirect: "/desk/people" },
      { path: "areas/:id?/:mode?/:step?", name: "desk-areas", component: () => import("../desk/Areas.vue") },
      { path: "checklists/:id?", name: "desk-checklists", component: () => import("../desk/Checklists.vue") },
      { path: "roster", name: "desk-roster", component: () => import("../desk/Roster.vue") },
      { path: "devices/:id?", name: "desk-devices", component: () => import("../desk/Phones.vue") },
      { path: "ledger/:kind?/:id?", name: "desk-ledger", component: () => import("../desk/Ledger.vue") },
      { path: "import", name: "desk-import", component: () => import("../domains/integrations/Import.vue") },
      {
        path: ":section(people|machines|tags|limits)/:id?/:mode?/:step?",
        name: "desk-kind",
        component: () => import("../desk/Register.vue"),
      },
    ],
  },

  { path: "/k/:kind", name: "list", component: () => import("./generic/KindList.vue") },
  { path: "/k/:kind/new", name: "new", component: () => import("./generic/KindForm.vue") },
  { path: "/k/:kind/:id", name: "doc", component: () => import("./generic/DocDetail.vue") },
  { path: "/k/:kind/:id/edit", name: "edit", component: () => import("./generic/KindForm.vue") },
  { path: "/k/:kind/:id/do/:transition", name: "do", component: () => import("./generic/KindForm.vue") },

  { path: "/sign-in", name: "sign-in", component: () => import("./session/SignIn.vue"), meta: { open: true } },
  { path: "/set-up", name: "set-up", component: () => import("./session/SetUp.vue"), meta: { open: true } },
  { path: "/unlock", name: "unlock", component: () => import("./session/Unlock.vue"), meta: { open: true } },
  { path: "/forgot/:person", name: "forgot", component: () => import("./session/Forgot.vue"), meta: { open: true } },
  { path: "/pin", name: "pin", component: () => import("./session/SetPin.vue"), meta: { open: true } },
  { path: "/:rest(.*)*", name: "nowhere", component: () => import("./screens/Nowhere.vue"), meta: { open: true } },
];

export const router = createRouter({
  history: createWebHistory(),
  routes,
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
});

/** Where the session belongs when it is not open; null when it is. */
function session(): "sign-in" | "unlock" | "pin" | null {
  const { lock } = useCore();
  if (lock.value === "none") return "sign-in";
  if (lock.value === "locked") return "unlock";
  if (lock.value === "setPin") return "pin";
  return null;
}

let watched = false;

router.beforeEach((to) => {
  if (!watched) {
    watched = true;
    // A lock after idleness, a sign-out in another tab: whatever is on screen, it goes behind the PIN, and comes back to the same place.
    watch(useCore().lock, (now, before) => {
      const here = router.currentRoute.value;
      if (before === "open" && now !== "open" && !here.meta.open) {
        const next = now === "locked" ? here.fullPath : undefined;
        void router.replace({ name: session() ?? "today", query: next && next !== "/" ? { next } : {} });
      } else if (now === "none" && before === "locked" && here.name === "unlock") void router.replace({ name: "sign-in" });
    });
  }
  const needed = session();
  // Whoever scans a tag where nobody ever signed in is not sent to a password: there is a page for passers-by.
  if (to.name === "tag" && needed === "sign-in") return true;
  if (!to.meta.open && needed) return { name: needed, query: to.fullPath === "/" ? {} : { next: to.fullPath } };
  if (to.name === "pin" && needed !== "pin") return needed ? { name: needed } : { name: "today" };
  return true;
});

/** After signing in or unlocking: on to where the person wanted to go. */
export function goOn(): Promise<unknown> {
  const next = router.currentRoute.value.query.next;
  const to = typeof next === "string" && next.startsWith("/") && !next.startsWith("//") ? next : "/";
  const needed = session();
  return router.replace(needed ? { name: needed, query: to === "/" ? {} : { next: to } } : to);
}
