"""A crane's checks, its faults and its authority to operate, over the real server."""

from flow_plant import AREA, CRANE, CRANE_KEY, ITEMS, PHOTO, Plant, person

from backend.auth.revocations import Line

BRAKE, BELL = "overhead_crane.hoist_brake", "overhead_crane.bell_lamp"


async def authority(plant: Plant) -> int | None:
    return (await plant.crane()).get("authority_until")


async def test_a_passed_check_gives_authority_until_the_shift_ends(plant: Plant) -> None:
    check = await plant.check()
    assert (check["status"], check["authority"], check["bad_count"]) == ("passed", "given", 0)
    crane = await plant.crane()
    # 2025-10-09 16:53 in the plant: the day shift ends at 20:00.
    assert crane["authority_until"] == check["authority_until"] == 1_760_011_200_000
    assert crane["authority_by"] == person("inspector")


async def test_a_check_done_at_the_end_of_a_shift_is_the_next_shift_s(plant: Plant) -> None:
    plant.world.now = 1_760_011_200_000 - 20 * 60_000
    await plant.check()
    assert await authority(plant) == 1_760_011_200_000 + 12 * 3_600_000


async def test_a_worker_checks_his_own_crane_and_a_stranger_does_not(plant: Plant) -> None:
    assert (await plant.check(name="worker"))["authority"] == "given"
    assert await plant.say("stranger", "new", {"machine": CRANE}, kind="check.overhead_crane") == ("refused", "flow.not_allowed")
    assert await plant.say("manager", "new", {"machine": CRANE}, kind="check.overhead_crane") == ("refused", "flow.not_allowed")


async def test_a_critical_bad_answer_puts_a_fault_on_the_machine_at_once_and_takes_the_authority(plant: Plant) -> None:
    await plant.check()
    assert await authority(plant) is not None
    check = await plant.begin()
    await plant.answer(check, (BRAKE,), items=[BRAKE])
    crane = await plant.crane()
    assert crane["authority_until"] is None
    (fault,) = crane["open_faults"]
    assert (fault["key"], fault["check"], fault["label"]["en"]) == (BRAKE, check, "Both main-hoist brakes hold in empty test")
    assert (await plant.world.view(check))["status"] == "begun"
    assert await plant.documents("hazard") == [f"hazard/{fault['hazard']}"]


async def test_every_bad_answer_opens_a_hazard_with_its_photos(plant: Plant) -> None:
    check = await plant.check((BRAKE, BELL))
    assert (check["status"], check["authority"], check["bad_count"]) == ("failed", "failed", 2)
    found = [await plant.world.view(key) for key in await plant.documents("hazard")]
    assert sorted(hazard["item"] for hazard in found) == sorted([BRAKE, BELL])
    for hazard in found:
        assert (hazard["photos"], hazard["reporter"], hazard["machine"], hazard["grade"]) == ([PHOTO], person("inspector"), CRANE, "red")
    assert [fault["key"] for fault in (await plant.crane())["open_faults"]] == [BRAKE]


async def test_a_bad_answer_that_is_not_critical_opens_a_hazard_and_lets_the_check_pass(plant: Plant) -> None:
    check = await plant.check((BELL,))
    assert (check["status"], check["authority"], check["bad_count"]) == ("passed", "given", 1)
    assert len(await plant.documents("hazard")) == 1
    assert (await plant.crane())["open_faults"] == []


async def test_a_pass_while_a_fault_stands_gives_nothing_and_says_so(plant: Plant) -> None:
    await plant.check((BRAKE,))
    check = await plant.check()
    assert (check["status"], check["authority"], check.get("authority_until")) == ("passed", "fault", None)
    assert await authority(plant) is None


async def test_a_check_that_began_before_a_fault_was_reported_gives_nothing_even_once_it_is_cleared(plant: Plant) -> None:
    early = await plant.begin()
    late = await plant.begin("worker")
    await plant.answer(late, (BRAKE,), "worker", [BRAKE])
    await plant.ok("supervisor", "act", CRANE_KEY, "clear", key=BRAKE, media=PHOTO)
    await plant.answer(early)
    await plant.ok("inspector", "act", early, "finish")
    assert ((await plant.world.view(early))["status"], (await plant.world.view(early))["authority"]) == ("passed", "late")
    assert await authority(plant) is None


async def test_a_check_made_offline_before_the_fault_and_sent_after_its_repair_gives_nothing(plant: Plant) -> None:
    offline = await plant.phone("inspector")
    check = offline.new({"machine": CRANE}, kind="check.overhead_crane")
    for item in ITEMS:
        offline.add(check, {"item": item, "verdict": "ok", "value": 5, "dwell_ms": 5000}, "answers")
    offline.act(check, "finish")
    plant.later(10)
    await plant.check((BRAKE,), "worker")
    await plant.ok("supervisor", "act", CRANE_KEY, "clear", key=BRAKE, media=PHOTO)
    verdicts = (await offline.push_new()).verdicts
    assert {verdict.state for verdict in verdicts} == {"ok"}
    assert (await plant.world.view(check))["authority"] == "late"
    assert await authority(plant) is None


async def test_clearing_needs_a_competent_person_a_photo_and_the_fault(plant: Plant) -> None:
    await plant.check((BRAKE,))
    assert await plant.say("inspector", "act", CRANE_KEY, "clear", key=BRAKE, media=PHOTO) == ("refused", "flow.not_allowed")
    assert await plant.say("supervisor", "act", CRANE_KEY, "clear", key=BRAKE) == ("refused", "flow.field_required")
    assert await plant.say("supervisor", "act", CRANE_KEY, "clear", key=BELL, media=PHOTO) == ("refused", "machine.no_such_fault")
    await plant.ok("supervisor", "act", CRANE_KEY, "clear", key=BRAKE, media=PHOTO, note="new lining")
    assert (await plant.crane())["open_faults"] == []
    (entry,) = (await plant.world.body(CRANE_KEY))["sets"]["clears"].values()
    assert (entry[0]["by"], entry[0]["media"], entry[0]["note"]) == (person("supervisor"), PHOTO, "new lining")


async def test_authority_comes_back_only_with_a_new_passed_check(plant: Plant) -> None:
    await plant.check((BRAKE,))
    plant.later()
    await plant.ok("supervisor", "act", CRANE_KEY, "clear", key=BRAKE, media=PHOTO)
    assert await authority(plant) is None
    await plant.check()
    assert await authority(plant) is not None


async def test_a_fault_said_again_stands_once(plant: Plant) -> None:
    await plant.check((BRAKE,))
    await plant.check((BRAKE,), "worker")
    assert [fault["key"] for fault in (await plant.crane())["open_faults"]] == [BRAKE]
    assert len(await plant.documents("hazard")) == 2


async def test_a_bad_answer_after_the_check_has_passed_still_takes_the_authority(plant: Plant) -> None:
    check = await plant.begin()
    await plant.answer(check)
    await plant.ok("inspector", "act", check, "finish")
    assert await authority(plant) is not None
    await plant.answer(check, (BRAKE,), items=[BRAKE])
    assert await authority(plant) is None


async def test_a_normal_answer_after_a_critical_bad_one_lifts_no_fault(plant: Plant) -> None:
    check = await plant.begin()
    await plant.answer(check, (BRAKE,))
    await plant.answer(check, items=[BRAKE])
    await plant.ok("inspector", "act", check, "finish")
    assert ((await plant.world.view(check))["status"], (await plant.world.view(check))["authority"]) == ("passed", "fault")


async def test_an_older_check_that_arrives_late_does_not_shorten_a_newer_authority(plant: Plant) -> None:
    offline = await plant.phone("worker")
    check = offline.new({"machine": CRANE}, kind="check.overhead_crane")
    for item in ITEMS:
        offline.add(check, {"item": item, "verdict": "ok", "value": 5}, "answers")
    offline.act(check, "finish")
    plant.later(12 * 60)
    await plant.check()
    until = await authority(plant)
    await offline.push_new()
    assert (await plant.world.view(check))["authority"] == "newer"
    assert await authority(plant) == until


async def test_a_patrol_gives_no_authority_and_takes_it_all_the_same(plant: Plant) -> None:
    assert (await plant.check(mode="patrol"))["authority"] == "none"
    assert await authority(plant) is None
    await plant.check()
    await plant.check((BRAKE,), mode="patrol")
    assert await authority(plant) is None


async def test_finishing_needs_every_item(plant: Plant) -> None:
    check = await plant.begin()
    await plant.answer(check, items=ITEMS[1:])
    assert await plant.say("inspector", "act", check, "finish") == ("refused", "check.items_missing")
    await plant.answer(check, items=ITEMS[:1])
    await plant.ok("inspector", "act", check, "finish")


async def test_answers_are_judged_by_their_item(plant: Plant) -> None:
    check = await plant.begin()

    async def say(item: str, verdict: str, **more: object) -> str | None:
        return (await plant.say("inspector", "add", check, {"item": item, "verdict": verdict, **more}, "answers"))[1]

    assert await say("overhead_crane.nothing", "ok") == "flow.item_unknown"
    assert await say(BELL, "na") == "check.reason_needed"
    assert await say(BELL, "na", note="radio only") is None
    assert await say("overhead_crane.clearance", "ok") == "check.value_needed"
    assert await say("overhead_crane.clearance", "ok", value=1.4) == "check.value_out_of_limits"
    assert await say("overhead_crane.clearance", "ok", value=1.5) is None
    assert await say("overhead_crane.clearance", "bad", value=1.4) is None
    assert await say(BELL, "perhaps") == "flow.field_choice"
    assert await plant.say("worker", "add", check, {"item": BELL, "verdict": "ok"}, "answers") == ("refused", "flow.not_allowed")


async def test_a_check_ticked_at_the_desk_is_flagged_and_not_refused(plant: Plant) -> None:
    check = await plant.begin()
    phone = await plant.phone("inspector")
    for item in ITEMS:
        phone.add(check, {"item": item, "verdict": "ok", "value": 5, "dwell_ms": 200}, "answers")
    phone.act(check, "finish")
    await phone.push_new()
    seen = await plant.world.view(check)
    assert (seen["hurried"], seen["dwell_ms"], seen["authority"]) == (True, 200 * len(ITEMS), "given")
    assert (await plant.check())["hurried"] is False


async def test_anybody_stops_a_machine_and_only_a_competent_person_takes_it_back(plant: Plant) -> None:
    await plant.check()
    await plant.ok("manager", "act", CRANE_KEY, "stop_use", reason="smoke")
    assert ((await plant.crane())["status"], await authority(plant)) == ("stopped", None)
    assert (await plant.check())["authority"] == "stopped"
    seq = (await plant.world.rows("SELECT seq FROM document WHERE key = $1", CRANE_KEY))[0]["seq"]
    assert await plant.say("inspector", "act", CRANE_KEY, "resume", seq) == ("refused", "flow.not_allowed")
    assert await plant.say("supervisor", "act", CRANE_KEY, "resume", 0) == ("refused", "flow.stopped_since")
    await plant.ok("supervisor", "act", CRANE_KEY, "resume", seq)
    assert await authority(plant) is None
    await plant.check()
    assert await authority(plant) is not None


async def test_a_machine_is_handed_back_by_whoever_has_it_or_a_supervisor(plant: Plant) -> None:
    await plant.check()
    assert await plant.say("worker", "act", CRANE_KEY, "hand_back") == ("refused", "flow.not_allowed")
    await plant.ok("inspector", "act", CRANE_KEY, "hand_back")
    assert await authority(plant) is None
    assert await plant.say("supervisor", "act", CRANE_KEY, "hand_back") == ("refused", "machine.no_authority")


async def test_nobody_but_the_server_authorises_faults_or_expires(plant: Plant) -> None:
    for step in ("authorise", "fault", "expire"):
        assert await plant.say("admin", "act", CRANE_KEY, step) == ("refused", "flow.server_only")


async def test_a_check_waits_for_a_machine_that_is_not_there_yet(plant: Plant) -> None:
    unknown = "00000000-0000-7000-8000-000000000001"
    assert await plant.say("inspector", "new", {"machine": unknown}, kind="check.overhead_crane") == ("parked", "op.awaits_document")


async def test_the_inspector_s_place_is_sealed_and_opens_to_him_and_those_who_may_read_all(plant: Plant) -> None:
    phone = await plant.phone("inspector")
    place = {"lat": 31.4, "lon": 121.4, "accuracy_m": 8, "source": "gps", "phone_at": plant.world.now, "at": plant.world.now}
    check = phone.new({"machine": CRANE, "place": phone.seal(place)}, kind="check.overhead_crane")
    await phone.push_new()

    async def seen(name: str) -> object:
        lines = await plant.world.pull(await plant.phone(name))
        return next(line["body"]["fields"]["place"][0] for line in lines.of("doc") if line["doc"] == check)

    assert await seen("inspector") == place
    assert await seen("safety") == place
    assert await seen("supervisor") is None


async def test_a_list_made_for_another_type_or_occasion_begins_no_check(plant: Plant) -> None:
    mill = await plant.ok(
        "admin", "new", {"number": "ZJ-1", "names": {"zh": "轧机", "en": "Mill"}, "type": "rolling_mill", "area": AREA}, kind="machine"
    )
    said = await plant.say("inspector", "new", {"machine": mill.partition("/")[2]}, kind="check.overhead_crane")
    assert said == ("refused", "check.other_machine")
    said = await plant.say("inspector", "new", {"machine": CRANE, "mode": "pre_cast"}, kind="check.overhead_crane")
    assert said == ("refused", "check.mode_of_another_list")


async def test_a_check_left_lying_over_the_end_of_its_shift_gives_nothing(plant: Plant) -> None:
    check = await plant.begin()
    await plant.answer(check)
    plant.later(12 * 60)
    await plant.ok("inspector", "act", check, "finish")
    view = await plant.world.view(check)
    assert (view["status"], view["authority"], view.get("authority_until")) == ("passed", "over", None)
    assert await authority(plant) is None


async def test_a_check_over_the_handover_counts_for_the_shift_it_began_in(plant: Plant) -> None:
    plant.world.now = 1_760_011_200_000 - 40 * 60_000
    check = await plant.begin()
    await plant.answer(check)
    plant.later(20)
    await plant.ok("inspector", "act", check, "finish")
    assert await authority(plant) == 1_760_011_200_000


async def test_a_repair_proven_before_the_fault_was_reported_again_does_not_clear_it(plant: Plant) -> None:
    await plant.check((BRAKE,))
    plant.later()
    offline = await plant.phone("supervisor")
    offline.act(CRANE_KEY, "clear", key=BRAKE, media=PHOTO)
    plant.later(10)
    await plant.check((BRAKE,), "worker")
    (verdict,) = (await offline.push_new()).verdicts
    assert (verdict.state, verdict.code) == ("refused", "machine.fault_newer")
    assert [fault["key"] for fault in (await plant.crane())["open_faults"]] == [BRAKE]


async def test_an_older_report_of_a_fault_that_arrives_late_does_not_make_it_older(plant: Plant) -> None:
    late = await plant.phone("inspector")
    check = late.new({"machine": CRANE, "mode": "pre_shift"}, kind="check.overhead_crane")
    late.add(check, {"item": BRAKE, "verdict": "bad", "media": [PHOTO]}, "answers")
    plant.later(10)
    await plant.check((BRAKE,), "worker")
    (fault,) = (await plant.crane())["open_faults"]
    await late.push_new()
    assert (await plant.crane())["open_faults"] == [fault]
    assert len(await plant.documents("hazard")) == 2


async def test_a_tag_is_bound_by_whoever_manages_the_machine_and_asks_for_it_first(plant: Plant) -> None:
    tag = await plant.ok("admin", "new", {"code": "ABCD1234"}, kind="tag")
    assert await plant.say("admin", "act", tag, "claim") == ("refused", "flow.field_required")
    assert await plant.say("safety", "act", tag, "claim", machine=CRANE) == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", tag, "claim", machine=CRANE)
    assert (await plant.world.view(tag))["status"] == "bound"


async def test_a_critical_bad_answer_of_an_unproven_author_takes_the_crane_at_once_and_is_marked(plant: Plant) -> None:
    await plant.check()
    check = await plant.begin()
    phone = await plant.phone("inspector")
    assert await authority(plant) is not None
    phone.add(check, {"item": BELL, "verdict": "bad", "dwell_ms": 9000}, "answers")
    phone.add(check, {"item": BRAKE, "verdict": "ok", "dwell_ms": 9000}, "answers")
    phone.add(check, {"item": BRAKE, "verdict": "bad", "dwell_ms": 9000, "note": "slips"}, "answers")
    phone.act(check, "finish")
    verdicts = (await phone.push_new(authors={})).verdicts
    assert [(v.state, v.code) for v in verdicts] == [
        ("parked", "author.unproven"),
        ("parked", "author.unproven"),
        ("ok", "author.unproven"),
        ("parked", "author.unproven"),
    ]
    crane = await plant.crane()
    assert crane["authority_until"] is None
    assert [fault["key"] for fault in crane["open_faults"]] == [BRAKE]


async def test_a_critical_bad_answer_of_a_revoked_person_takes_the_crane_at_once(plant: Plant) -> None:
    await plant.check()
    check = await plant.begin()
    plant.world.revocations.note(Line("person", person("inspector"), True, plant.world.now, person("admin")))
    assert await plant.say("inspector", "add", check, {"item": BELL, "verdict": "bad"}, "answers") == ("parked", "author.unproven")
    assert (await plant.say("inspector", "add", check, {"item": BRAKE, "verdict": "bad"}, "answers"))[0] == "ok"
    assert (await plant.crane())["open_faults"][0]["key"] == BRAKE


async def test_a_critical_bad_answer_of_an_unproven_author_counts_as_soon_as_its_check_is_taken(plant: Plant) -> None:
    await plant.check()
    phone = await plant.phone("inspector")
    check = phone.new({"machine": CRANE}, kind="check.overhead_crane")
    phone.add(check, {"item": BRAKE, "verdict": "bad", "dwell_ms": 9000}, "answers")
    verdicts = (await phone.push_new(authors={})).verdicts
    assert [v.state for v in verdicts] == ["parked", "parked"]
    await plant.ok("supervisor", "act", f"parked/{verdicts[0].op}", "take")
    assert [fault["key"] for fault in (await plant.crane())["open_faults"]] == [BRAKE]


async def test_a_place_in_clear_is_refused(plant: Plant) -> None:
    place = {"lat": 31.4, "lon": 121.4, "accuracy_m": 8, "source": "gps", "phone_at": plant.world.now, "at": plant.world.now}
    refused = ("refused", "flow.field_unsealed")
    assert await plant.say("inspector", "new", {"machine": CRANE, "place": place}, kind="check.overhead_crane") == refused
    assert await plant.say("inspector", "new", {"area": AREA, "note": "oil", "place": place}, kind="hazard") == refused
    assert await plant.say("inspector", "set", await plant.begin(), {"place": place}) == refused


async def finish_with(plant: Plant, name: str = "inspector", **na: str) -> str:
    """A check finished with these items marked not applicable."""
    check = await plant.begin(name)
    await plant.answer(check, name=name, items=[item for item in ITEMS if item.rpartition(".")[2] not in na])
    for item, why in na.items():
        await plant.ok(name, "add", check, {"item": f"overhead_crane.{item}", "verdict": "na", "note": why, "dwell_ms": 9000}, "answers")
    await plant.ok(name, "act", check, "finish")
    return check


async def test_what_every_crane_has_is_not_marked_not_applicable(plant: Plant) -> None:
    check = await plant.begin()
    for item in ("hoist_brake", "upper_limit", "travel_limit", "overload_limiter", "rope", "emergency_stop"):
        answer = {"item": f"overhead_crane.{item}", "verdict": "na", "note": "x"}
        assert await plant.say("inspector", "add", check, answer, "answers") == ("refused", "check.na_not_allowed")


async def test_a_critical_item_marked_not_applicable_withholds_the_authority_until_a_supervisor_confirms_it(plant: Plant) -> None:
    check = await finish_with(plant, small_hook="none here")
    view = await plant.world.view(check)
    assert (view["status"], view["authority"], view.get("authority_until")) == ("to_confirm", "unconfirmed", None)
    assert await authority(plant) is None
    for name in ("inspector", "worker", "stranger"):
        assert await plant.say(name, "act", check, "confirm_na", reason="seen") == ("refused", "flow.not_allowed")
    assert await plant.say("supervisor", "act", check, "confirm_na") == ("refused", "flow.field_required")
    await plant.ok("supervisor", "act", check, "confirm_na", reason="this crane has no small hook")
    view = await plant.world.view(check)
    assert (view["status"], view["authority"], view["confirmed_by"]) == ("passed", "given", person("supervisor"))
    crane = await plant.crane()
    assert crane["authority_until"] == view["authority_until"] == 1_760_011_200_000
    assert (crane["authority_by"], crane["authority_check"]) == (person("inspector"), check)


async def test_an_item_that_is_not_critical_may_be_marked_not_applicable(plant: Plant) -> None:
    assert (await plant.world.view(await finish_with(plant, bell_lamp="none")))["authority"] == "given"


async def test_what_does_not_apply_is_not_confirmed_by_the_one_who_checked(plant: Plant) -> None:
    await plant.ok("admin", "act", f"person/{person('inspector')}", "assign_roles", roles=[{"role": "supervisor"}, {"role": "inspector"}])
    check = await finish_with(plant, small_hook="none here")
    assert await plant.say("inspector", "act", check, "confirm_na", reason="seen") == ("refused", "flow.not_allowed")


async def test_a_fault_or_a_stop_after_the_check_is_not_confirmed_away(plant: Plant) -> None:
    check = await finish_with(plant, small_hook="none here")
    other = await plant.begin("worker")
    await plant.answer(other, (BRAKE,), "worker", [BRAKE])
    assert await plant.say("supervisor", "act", check, "confirm_na", reason="seen") == ("refused", "machine.fault_stands")
    await plant.ok("supervisor", "act", CRANE_KEY, "clear", key=BRAKE, media=PHOTO)
    assert await plant.say("supervisor", "act", check, "confirm_na", reason="seen") == ("refused", "machine.check_too_old")
    await plant.ok("worker", "act", CRANE_KEY, "stop_use", reason="odd noise")
    assert await plant.say("supervisor", "act", check, "confirm_na", reason="seen") == ("refused", "check.machine_stopped")
    assert await authority(plant) is None


async def test_nothing_is_confirmed_once_the_shift_is_over(plant: Plant) -> None:
    check = await finish_with(plant, small_hook="none here")
    plant.world.now = 1_760_011_200_000 + 1
    assert await plant.say("supervisor", "act", check, "confirm_na", reason="seen") == ("refused", "check.shift_over")
    assert await authority(plant) is None
