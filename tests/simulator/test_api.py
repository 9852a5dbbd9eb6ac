"""The API: the shape of each reply, access, limits and their tasks, in the vendor's words."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from stream.simulator import Knobs
from stream.simulator.where import parse
from tests.simulator.platform import DAY, HOUR, MINUTE, T0, Platform, platform


def code(reply: httpx.Response) -> tuple[int, int]:
    """HTTP status and the code of the error, which must have its whole shape."""
    error = reply.json()["error"]
    assert {name: type(value) for name, value in error.items()} == {"code": int, "msg": str, "value": dict}
    return reply.status_code, error["code"]


# ---------------------------------------------------------------- access


async def test_login_answers_201() -> None:
    """E-mail and password give a token that works as a header and as a cookie."""
    async with platform() as one:
        reply = await one.log_in()
        assert reply.status_code == 201
        assert set(reply.json()) == {"id", "token", "expires_at", "confirmed"}
        token = one.client.headers.pop("x-xsrf-token")
        assert code(await one.client.get("/vm/v3/host")) == (401, 1000)
        for headers in ({"x-xsrf-token": token}, {"cookie": f"ses6={token}"}):
            assert (await one.client.get("/vm/v3/host", headers=headers)).status_code == 200


async def test_a_cookie_alone_may_not_do() -> None:
    """By the knob, the header is needed."""
    async with platform(Knobs(cookie_alone=False)) as one:
        token = one.client.headers.pop("x-xsrf-token")
        assert (await one.client.get("/vm/v3/host", headers={"cookie": f"ses6={token}"})).status_code == 401


@pytest.mark.parametrize("body", [{"email": "admin@example.com", "password": "x"}, {"email": 1}, {}])
async def test_a_wrong_password_is_refused(body: object) -> None:
    """With the status that the knob says; the code is an invented one."""
    async with platform(Knobs(wrong_password_status=403)) as one:
        reply = await one.client.post("/auth/v4/public/token", json=body)
        assert reply.status_code == 403
        assert "invented" in reply.json()["error"]["msg"]


async def test_a_token_lives_an_hour_from_its_last_use() -> None:
    """Each call moves its end on; after an hour of silence code 1000, with the HTTP status of the knob."""
    async with platform(Knobs(expired_status=403)) as one:
        await one.log_in()
        for _ in range(3):
            one.now.ms += HOUR - 1
            assert (await one.client.get("/vm/v3/host")).status_code == 200
        one.now.ms += HOUR
        assert code(await one.client.get("/vm/v3/host")) == (403, 1000)
        await one.log_in()
        assert (await one.client.get("/vm/v3/host")).status_code == 200


async def test_logout_ends_a_token() -> None:
    """DELETE of the token makes it void."""
    async with platform() as one:
        token = (await one.log_in()).json()["token"]
        assert (await one.client.delete(f"/auth/v4/token/{token}")).status_code == 200
        assert code(await one.client.get("/vm/v3/host")) == (401, 1000)


async def test_a_long_lived_token_has_a_date() -> None:
    """It needs no use to live and no password, and dies on its day."""
    async with platform() as one:
        body = {"expires_at": "2026-04-15 00:00:00", "description": "quota"}
        reply = await one.client.post("/auth/v4/token", json=body)
        assert set(reply.json()) == {"id", "token", "expires_at", "description"}
        assert (reply.status_code, reply.json()["expires_at"]) == (201, body["expires_at"])
        one.client.headers["x-xsrf-token"] = reply.json()["token"]
        one.now.ms += 30 * DAY
        assert (await one.client.get("/vm/v3/host")).status_code == 200
        one.now.ms += 2 * DAY
        assert (await one.client.get("/vm/v3/host")).status_code == 401
        one.client.headers["x-xsrf-token"] = one.app.access.lasting()
        assert (await one.client.get("/vm/v3/host")).status_code == 200
        assert code(await one.client.post("/auth/v4/token", json={"expires_at": "soon"}))[0] == 400


async def test_closed_functions_answer_3001() -> None:
    """A function that is closed to outside callers."""
    async with platform(Knobs(closed=(r"POST .*/resource",))) as one:
        id = one.world.create()
        assert code(await one.order(id, net_in_mbitps=1)) == (403, 3001)
        assert (await one.client.get("/vm/v3/host")).status_code == 200


async def test_what_is_not_there() -> None:
    """1106 for a function, 3080 for a VM, a task or a token that does not exist."""
    async with platform() as one:
        assert code(await one.client.get("/vm/v3/hosts")) == (404, 1106)
        assert code(await one.client.post("/vm/v3/host", json={})) == (404, 1106)
        for path in ("host/5", "host/5/metrics?target=net_rx_summary", "host/5/history", "task/5"):
            assert code(await one.client.get(f"/vm/v3/{path}")) == (404, 3080)
        for path in (f"host/{'9' * 30}", f"task/{'9' * 30}", f"task/{'9' * 5000}"):
            assert code(await one.client.get(f"/vm/v3/{path}")) == (404, 1106)
        assert code(await one.order(5, net_in_mbitps=1)) == (404, 3080)
        assert code(await one.client.delete("/auth/v4/token/none")) == (404, 3080)


# ---------------------------------------------------------------- the list


async def test_a_row_of_the_list() -> None:
    """One call gives state, owner, place and limits of every VM."""
    async with platform() as one:
        places: dict[str, Any] = {"name": "mail", "account": "7", "node": "n1", "cluster": "kvm-9", "tags": ["vpn"]}
        id = one.world.create(limits=(50, None), creating_ms=MINUTE, **places)
        one.world.create()
        reply = (await one.client.get("/vm/v3/host")).json()
        assert set(reply) == {"list", "last_notify"}
        row = reply["list"][0]
        assert [type(row[place].pop("id")) for place in ("node", "cluster")] == [int, int]
        assert row == {
            "id": id,
            "name": "mail",
            "domain": "mail",
            "comment": "",
            "state": "creating",
            "disabled": False,
            "account": {"id": 7, "email": "user7@example.com"},
            "node": {"name": "n1"},
            "cluster": {"name": "kvm-9"},
            "ip4": [{"ip": "10.0.0.1"}],
            "ip6": [],
            "tags": ["vpn"],
            "net_in_mbitps": 50,
            "net_out_mbitps": 0,
        }
        one.now.ms += MINUTE
        assert (await one.row(id))["state"] == "active"
        single = (await one.client.get(f"/vm/v3/host/{id}")).json()
        assert set(row) - set(single) == {"account", "node", "cluster", "ip4", "ip6", "tags"}


async def test_an_account_of_any_length() -> None:
    """A number as far as a number can be written, else a text."""
    async with platform() as one:
        ids = [one.world.create(account=account) for account in ("7", "anna", "9" * 30, "9" * 5000)]
        shown = [(await one.row(id))["account"]["id"] for id in ids]
        assert shown == [7, "anna", "9" * 30, "9" * 5000]


async def test_vms_come_move_and_go() -> None:
    """What happens to VMs shows in the list, and `last_notify` grows."""
    async with platform() as one:
        first, second = one.world.create(), one.world.create()
        before = (await one.client.get("/vm/v3/host")).json()["last_notify"]
        one.world.edit(first, name="new", node="n2", cluster="kvm-2", account="9", tags=["a", "b"], disabled=True)
        one.world.stop(first)
        one.world.delete(second)
        row = await one.row(first)
        assert (row["name"], row["node"]["name"], row["account"]["id"]) == ("new", "n2", 9)
        assert (row["cluster"]["name"], row["tags"], row["disabled"], row["state"]) == (
            "kvm-2",
            ["a", "b"],
            True,
            "stopped",
        )
        reply = (await one.client.get("/vm/v3/host")).json()
        assert [row["id"] for row in reply["list"]] == [first]
        assert reply["last_notify"] > before


@pytest.mark.parametrize(
    ("knobs", "shown"),
    [
        (Knobs(bandwidth="one"), {"net_bandwidth_mbitps": 50}),
        (Knobs(unlimited=None), {"net_in_mbitps": 50, "net_out_mbitps": None}),
        (Knobs(unlimited=100_000), {"net_in_mbitps": 50, "net_out_mbitps": 100_000}),
        (Knobs(tags="objects"), {"net_in_mbitps": 50, "net_out_mbitps": 0}),
    ],
)
async def test_rows_may_look_otherwise(knobs: Knobs, shown: dict[str, int | None]) -> None:
    """The old single field, other words for "no limit", tags as objects."""
    async with platform(knobs) as one:
        row = await one.row(one.world.create(limits=(50, None), tags=["vpn"]))
        assert {name: value for name, value in row.items() if name.startswith("net_")} == shown
        assert (row["tags"] == ["vpn"]) == (knobs.tags == "names")


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("((id+EQ+'102'))", [102]),
        ("id+EQ+'102'", [102]),
        ("((id+EQ+'101')+OR+(id+EQ+'103'))", [101, 103]),
        ("((cluster.name+EQ+'kvm-2')+AND+(name+CP+'m%25'))", [103]),
        ("((name+CP+'%25i%25'))", [101, 103]),
        ("((name+CP+'mail'))", [101]),
        ("((name+CP+'m%25i%25l'))", [101]),
        ("((name+CP+'ma%25ail'))", []),
        ("((name+CP+'%25i%25i'))", [103]),
        ("((name+CP+'%25'))", [101, 102, 103]),
        ("((nothing+EQ+''))", [101, 102, 103]),
    ],
)
async def test_filters(where: str, found: list[int]) -> None:
    """EQ, CP, AND, OR, parentheses, with `+` for a space and nothing else encoded."""
    async with platform() as one:
        for name, cluster in (("mail", "kvm-1"), ("web", "kvm-2"), ("mini", "kvm-2")):
            one.world.create(name=name, cluster=cluster)
        reply = await one.client.get(f"/vm/v3/host?where={where}")
        assert [row["id"] for row in reply.json()["list"]] == found


@pytest.mark.timeout(20)
def test_a_filter_with_many_gaps() -> None:
    """It is compared piece by piece: to try all places of all pieces would take longer than anybody lives."""
    passes, _ = parse(f"(name CP '{'%a' * 60}q')")
    assert not passes({"name": "a" * 200})
    passes, _ = parse(f"(name CP '{'%a' * 60}')")
    assert passes({"name": "a" * 200})


@pytest.mark.parametrize(
    "where", ["((id+EQ+'1')", "id+LIKE+'1'", "id", "", "((id+EQ+'1'))+x", "((id+EQ+'1", "$", "(" * 99]
)
async def test_filters_that_are_none(where: str) -> None:
    """An error in the platform's shape."""
    async with platform() as one:
        assert code(await one.client.get(f"/vm/v3/host?where={where}"))[0] == 400


async def test_filters_may_fail_on_the_server() -> None:
    """By the knob, any field but `id` gives HTTP 500, as one client saw it."""
    async with platform(Knobs(filters="id")) as one:
        one.world.create()
        assert (await one.client.get("/vm/v3/host?where=((id+EQ+'101'))")).status_code == 200
        assert code(await one.client.get("/vm/v3/host?where=((cluster.id+EQ+'1'))"))[0] == 500


async def test_ten_thousand_vms() -> None:
    """The bare list has them all, unless a knob cuts it; each has metrics."""
    async with platform() as one:
        one.world.populate(10_000, since=T0 - 40 * DAY)
        rows = (await one.client.get("/vm/v3/host")).json()["list"]
        assert len({row["id"] for row in rows}) == 10_000
        for row in rows[::1000]:
            points = await one.points(row["id"], "-30d", "now", interval="1month")
            truth = one.world.bytes_between(row["id"], T0 - 30 * DAY, T0)[0]
            assert sum(value or 0 for value, _ in points) == truth
    async with platform(Knobs(list_limit=50)) as one:
        one.world.populate(60)
        assert len((await one.client.get("/vm/v3/host")).json()["list"]) == 50


# ---------------------------------------------------------------- limits and tasks


async def test_a_change_is_a_task() -> None:
    """First there is no record, then it runs, then the limit holds; the field that was not sent keeps its value."""
    async with platform(Knobs(task_ms=20_000, task_absent_ms=2_000)) as one:
        id = one.world.create(limits=(100, 200))
        reply = await one.order(id, net_in_mbitps=10)
        assert reply.status_code == 200
        assert set(reply.json()) == {"id", "task"}
        task = reply.json()["task"]
        seen = []
        for wait in (0, 2_000, 17_999, 1):
            one.now.ms += wait
            rows = await one.task_rows(task)
            seen.append((rows[0]["status"] if rows else None, one.world.limits(id)))
        assert seen == [
            (None, (100, 200)),
            ("running", (100, 200)),
            ("running", (100, 200)),
            ("complete", (10, 200)),
        ]
        wrapped = (await one.client.get(f"/vm/v3/task/{task}")).json()
        assert wrapped == {"task": (await one.task_rows(task))[0]}
        assert wrapped["task"]["id"] != wrapped["task"]["consul_id"] == task
        row = await one.row(id)
        assert (row["net_in_mbitps"], row["net_out_mbitps"]) == (10, 200)


@pytest.mark.parametrize(
    ("effect", "word", "status", "limits"),
    [
        ("task_fails", "fail", "fail", (100, 100)),
        ("task_fails", "failed", "failed", (100, 100)),
        ("task_endless", "fail", "running", (100, 100)),
        ("task_forgotten", "fail", None, (10, 20)),
    ],
)
async def test_tasks_go_wrong(effect: str, word: str, status: str | None, limits: tuple[int, int]) -> None:
    """A task fails (in either word), never ends, or leaves no trace of having done its work."""
    async with platform(Knobs(failed="failed" if word == "failed" else "fail")) as one:
        id = one.world.create()
        match effect:
            case "task_fails":
                one.app.faults.inject("task_fails", times=1)
            case "task_endless":
                one.app.faults.inject("task_endless", times=1)
            case _:
                one.app.faults.inject("task_forgotten", times=1)
        task = (await one.order(id, net_in_mbitps=10, net_out_mbitps=20)).json()["task"]
        one.now.ms += HOUR - 1
        rows = await one.task_rows(task)
        assert [row["status"] for row in rows] == ([] if status is None else [status])
        assert (await one.client.get(f"/vm/v3/task/{task}")).status_code == (404 if status is None else 200)
        assert one.world.limits(id) == limits
        assert one.app.faults.struck == {effect: 1}


async def test_a_reply_without_a_task_is_done() -> None:
    """By the knob, changes are immediate."""
    async with platform(Knobs(immediate=True)) as one:
        id = one.world.create(limits=(100, 200))
        assert (await one.order(id, net_in_mbitps=10)).json() == {"id": id}
        assert one.world.limits(id) == (10, 200)


async def test_a_busy_vm_queues() -> None:
    """A second change waits for the first, and the last one asked for is the last one to hold."""
    async with platform(Knobs(task_ms=20_000)) as one:
        id = one.world.create()
        for limit in (10, 20):
            await one.order(id, net_in_mbitps=limit)
        seen = []
        for _ in range(2):
            one.now.ms += 20_000
            seen.append(one.world.limits(id)[0])
        assert seen == [10, 20]


async def test_a_busy_vm_may_refuse() -> None:
    """By the knob, a second change is refused while the first is under way; the code is invented."""
    async with platform(Knobs(busy="refuse")) as one:
        id = one.world.create()
        await one.order(id, net_in_mbitps=10)
        refusal = await one.order(id, net_in_mbitps=20)
        assert refusal.status_code == 409
        assert "invented" in refusal.json()["error"]["msg"]
        one.now.ms += 20_000
        assert (await one.order(id, net_in_mbitps=20)).status_code == 200


@pytest.mark.parametrize(
    ("knobs", "asked", "limits"),
    [
        (Knobs(), {"net_in_mbitps": 0, "net_out_mbitps": 7}, (None, 7)),
        (Knobs(unlimited=None), {"net_in_mbitps": None}, (None, 100)),
        (Knobs(bandwidth="one"), {"net_bandwidth_mbitps": 7}, (7, 7)),
        (Knobs(bandwidth="one"), {"net_bandwidth_mbitps": 0}, (None, None)),
    ],
)
async def test_no_limit_and_the_old_field(knobs: Knobs, asked: dict[str, int | None], limits: object) -> None:
    """What a client asks for is what the VM gets, in the words of the knobs."""
    async with platform(knobs) as one:
        id = one.world.create()
        assert (await one.order(id, **asked)).status_code == 200
        one.now.ms += MINUTE
        assert one.world.limits(id) == limits


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        {"net_in_mbitps": 1.5},
        {"net_in_mbitps": "10"},
        {"net_in_mbitps": True},
        {"net_in_mbitps": False},
        {"net_in_mbitps": -1},
        {"net_in_mbitps": 100_001},
        {"net_in_mbitps": None},
        {"net_in_mbitps": 10, "cpu": 2},
        {"net_bandwidth_mbitps": 10},
    ],
)
async def test_senseless_changes_are_refused(body: object) -> None:
    """Nothing but whole Mbit/s in range, and nothing beside limits; nothing changes."""
    async with platform() as one:
        id = one.world.create()
        reply = await one.client.post(f"/vm/v3/host/{id}/resource", json=body)
        assert code(reply)[0] == 400
        assert not one.world.tasks


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 70_000])
async def test_a_body_must_be_json(body: bytes) -> None:
    """Anything else, or an endless one, is refused."""
    async with platform() as one:
        id = one.world.create()
        assert code(await one.client.post(f"/vm/v3/host/{id}/resource", content=body))[0] == 400


async def test_history_names_the_writer() -> None:
    """Changes by the API, by somebody else, and not those that are still to come."""
    async with platform() as one:
        id = one.world.create()
        one.world.set_limits(id, 5, 5, by="billing@example.com")
        await one.order(id, net_in_mbitps=10)
        rows = (await one.client.get(f"/vm/v3/host/{id}/history")).json()["list"]
        assert [row["account"]["email"] for row in rows] == ["creation", "billing@example.com"]
        one.now.ms += MINUTE
        rows = (await one.client.get(f"/vm/v3/host/{id}/history")).json()["list"]
        assert (rows[-1]["account"]["email"], rows[-1]["params"]) == (one.app.access.email, {"net_in_mbitps": 10})


# ---------------------------------------------------------------- sleep and haste


async def test_a_suspended_platform_answers_503() -> None:
    """So many requests are answered with a page of HTML, logins too; then it is awake."""
    async with platform(Knobs(asleep=True, waking_requests=2)) as one:
        for _ in range(2):
            reply = await one.log_in()
            assert reply.status_code == 503
            assert reply.text.startswith("<html>")
        assert (await one.log_in()).status_code == 201
        one.app.sleep()
        assert [(await one.client.get("/vm/v3/host")).status_code for _ in range(20)] == [503] * 20
        one.app.wake()
        assert (await one.client.get("/vm/v3/host")).status_code == 200


async def test_an_idle_platform_falls_asleep() -> None:
    """By the knob, after so long without a call."""
    async with platform(Knobs(suspend_after_ms=10 * MINUTE, waking_requests=1)) as one:
        one.now.ms += 10 * MINUTE + 1
        assert [(await one.client.get("/vm/v3/host")).status_code for _ in range(2)] == [503, 200]


async def test_haste_may_be_refused() -> None:
    """By the knob, more calls than so many in a second get 429."""
    async with platform(Knobs(requests_per_second=3)) as one:
        one.now.ms += 1000
        assert [(await one.client.get("/vm/v3/host")).status_code for _ in range(4)] == [200, 200, 200, 429]
        one.now.ms += 1000
        assert (await one.client.get("/vm/v3/host")).status_code == 200


async def test_the_content_type_may_be_anything() -> None:
    """JSON under another name."""
    async with platform(Knobs(content_type="text/html")) as one:
        reply = await one.client.get("/vm/v3/host")
        assert reply.headers["content-type"].startswith("text/html")
        assert reply.json()["list"] == []


@pytest.mark.parametrize(("late_percent", "lag_ms"), [(101, 0), (-1, 0), (0, -1)])
def test_a_knob_out_of_range_is_refused(late_percent: int, lag_ms: int) -> None:
    """Knobs validate themselves."""
    with pytest.raises(ValueError, match="out of range"):
        Knobs(late_percent=late_percent, lag_ms=lag_ms)


# ---------------------------------------------------------------- the vendor's way


async def test_the_vendors_calls_in_their_order() -> None:
    """Login, the two totals of the month so far in buckets of `1month`, the limit in both directions, logout: as the
    vendor's own program does it, with header and cookie, and every reply read the way it reads them."""
    async with platform(at=T0 + 12 * HOUR) as one:
        id = one.world.create(habit="heavy", since=T0 - 40 * DAY)
        token = (await one.log_in()).json()["token"]
        one.client.cookies.set("ses6", token)
        total = sum([await _vendor_total(one, id, target) for target in ("net_rx_summary", "net_tx_summary")])
        month_began = T0 - 14 * DAY - HOUR
        assert total == sum(one.world.bytes_between(id, month_began, T0 + 12 * HOUR))
        assert total / 2**30 >= 1024
        result = (await one.order(id, net_in_mbitps=10, net_out_mbitps=10)).json()
        assert not result.get("error")
        assert (await one.client.delete(f"/auth/v4/token/{token}")).status_code in (200, 201)
        one.now.ms += MINUTE
        assert one.world.limits(id) == (10, 10)


async def _vendor_total(one: Platform, id: int, target: str) -> float:
    span = {"from": "00:00_20260301", "until": "13:00_20260315"}
    query = {"target": target, "output": "single", "interval": "1month"}
    content = (await one.client.get(f"/vm/v3/host/{id}/metrics", params=query | span)).json()
    assert isinstance(content, list)
    return sum(float(point[0]) for point in content[0].get("datapoints", []) if point[0])
