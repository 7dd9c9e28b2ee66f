"""Keys and clicks at the worst moments decide nothing that was not meant."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import APIResponse, Page, Route, expect

from tests.browser.conftest import Developer, armed, press_quickly, select, standing_still
from tests.fixtures.browsers import Complaints
from tests.fixtures.people import Person
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

READ = ("read_file", {"path": "notes.txt"})
LIST = ("list_directory", {"path": "."})


def held_back(page: Page, first: Callable[[], object] = lambda: None) -> Callable[[], None]:
    """Keep the answers to decisions from the page until what this returns is called. `first` is done before each."""
    kept: list[tuple[Route, APIResponse]] = []

    def keep(route: Route) -> None:
        first()
        kept.append((route, route.fetch()))

    def release() -> None:
        # Asking the page lets what waits in this thread go on, `keep` too.
        eventually(lambda: page.evaluate("0") or kept, what="the answer")
        for route, answer in kept:
            route.fulfill(response=answer)

    page.route("**/decide/", keep)
    return release


def test_a_key_right_after_a_change_of_selection_decides_nothing(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue(clock=True)
    gates = alice.ask(READ, LIST)
    select(rita, gates[0])
    press_quickly(rita, "jakar" * 4)
    armed(rita)
    assert [alice.state(gate) for gate in gates] == ["pending", "pending"]


def test_a_key_meant_for_a_next_call_that_there_is_not_decides_nothing(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue(clock=True)
    (gate,) = alice.ask(READ)
    select(rita, gate)
    press_quickly(rita, "ja")
    armed(rita)
    assert alice.state(gate) == "pending"
    # Opening and closing the other ways to deal with it moves the bar as well.
    for key in ("m", "q"):
        rita.keyboard.press(key)
        rita.locator("h2#sentence").click()
        press_quickly(rita, f"{key}a")
        armed(rita)
        with standing_still(rita):
            for each in (key, "Escape", "a"):
                rita.keyboard.press(each)
        armed(rita)
    assert alice.state(gate) == "pending"


def test_a_key_held_down_decides_nothing(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    gates = alice.ask(READ, LIST)
    select(rita, gates[0])
    repeated = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', repeat: true, bubbles: true}))"
    rita.evaluate(repeated)
    armed(rita)
    assert [alice.state(gate) for gate in gates] == ["pending", "pending"]


def test_what_is_typed_into_a_field_decides_nothing(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    rita.keyboard.press("/")
    expect(rita.locator("#q")).to_be_focused()
    armed(rita)
    rita.keyboard.type("arazx")
    rita.fill("#q", "")
    rita.keyboard.press("Escape")
    armed(rita)
    rita.keyboard.press("r")
    armed(rita)
    rita.keyboard.type("a real reason, typed")
    armed(rita)
    assert alice.state(gate) == "pending"


def test_keys_behind_an_open_sheet_decide_nothing(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    rita.keyboard.press("?")
    expect(rita.locator("#keys")).to_be_visible()
    rita.keyboard.press("a")
    rita.keyboard.press("Escape")
    armed(rita)
    assert alice.state(gate) == "pending"


def test_the_first_press_after_coming_back_to_the_window_decides_nothing(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue(clock=True)
    (gate,) = alice.ask(READ)
    select(rita, gate)
    with standing_still(rita):
        rita.evaluate("dispatchEvent(new Event('focus'))")
        rita.keyboard.press("a")
        rita.locator("#decide .approve").dispatch_event("click")
    armed(rita)
    assert alice.state(gate) == "pending"


def test_an_arriving_row_neither_takes_the_selection_nor_moves_what_is_under_the_pointer(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    row = rita.locator(f'.row[data-id="{gate}"]')
    before = row.bounding_box()
    assert rita.evaluate("document.querySelector('#rows').matches(':hover')")
    # Of higher risk: its place is above.
    (risky,) = alice.ask(alice.risky())
    arrived = rita.locator(f'.row[data-id="{risky}"]')
    arrived.wait_for()
    assert row.bounding_box() == before
    expect(row.locator("a")).to_have_attribute("aria-current", "true")
    rita.keyboard.press("a")
    expect(row).to_have_attribute("data-state", "approved")
    assert alice.state(risky) == "pending"
    rita.mouse.move(900, 400)
    rita.wait_for_selector(f'#rows > li:first-child[data-id="{risky}"]')


def test_arrivals_wait_behind_a_bar_while_one_reads_mid_list(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue(viewport={"width": 1200, "height": 320})
    gates = alice.ask(*[READ] * 8)
    # With few of them, or beside the words of an empty queue, there is nothing to scroll.
    for gate in gates:
        rita.locator(f'.row[data-id="{gate}"]').wait_for()
    expect(rita.locator("#empty")).to_be_hidden()
    rita.locator("#rows").evaluate("list => list.scrollTo(0, 60)")
    before = rita.locator(f'.row[data-id="{gates[4]}"]').bounding_box()
    (risky,) = alice.ask(alice.risky())
    expect(rita.locator("#news")).to_have_text("1 new call: show it")
    expect(rita.locator(f'.row[data-id="{risky}"]')).to_have_count(0)
    # The bar is below the list: it moves nothing either.
    assert before is not None
    assert rita.locator(f'.row[data-id="{gates[4]}"]').bounding_box() == before
    rita.click("#news")
    expect(rita.locator(f'.row[data-id="{risky}"]')).to_be_visible()
    expect(rita.locator("#news")).to_be_hidden()


def test_quick_moves_open_the_call_where_they_end_and_decide_none(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue(clock=True)
    alice.ask(READ, LIST, ("read_file", {"path": "b.txt"}), ("read_file", {"path": "c.txt"}))
    expect(rita.locator(".row")).to_have_count(4)
    gates = rita.locator(".row").evaluate_all("rows => rows.map((row) => row.dataset.id)")
    select(rita, gates[0])
    press_quickly(rita, "jajaja")
    expect(rita.locator(f'.row[data-id="{gates[3]}"] a')).to_have_attribute("aria-current", "true")
    rita.wait_for_selector(f'#gate[data-id="{gates[3]}"]:not([aria-busy="true"])')
    armed(rita)
    assert [alice.state(gate) for gate in gates] == ["pending"] * 4
    rita.keyboard.press("a")
    expect(rita.locator(f'.row[data-id="{gates[3]}"]')).to_have_attribute("data-state", "approved")


def test_z_right_after_a_decision_takes_back_that_one_and_not_the_one_before(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    first, second = alice.ask(READ, LIST)
    select(rita, first)
    rita.keyboard.press("a")
    expect(rita.locator(".toast")).to_contain_text("Undo")
    select(rita, second)
    release = held_back(rita)
    rita.keyboard.press("a")
    # By the feed the page knows it already.
    expect(rita.locator(f'.row[data-id="{second}"]')).to_have_attribute("data-state", "approved")
    rita.keyboard.press("z")
    release()
    expect(rita.locator(f'.row[data-id="{second}"]')).to_have_attribute("data-state", "pending")
    assert [alice.state(gate) for gate in (first, second)] == ["approved", "pending"]


def test_z_right_after_a_decision_that_came_too_late_takes_nothing_back(
    live_queue: Callable[..., Page], alice: Developer, embedded: Site, complaints: Complaints
) -> None:
    complaints.expect("409")
    rita, adam = live_queue(), Person.at(embedded, "adam")
    first, second = alice.ask(READ, LIST)
    select(rita, first)
    rita.keyboard.press("a")
    expect(rita.locator(".toast")).to_contain_text("Undo")
    select(rita, second)
    asked: list[str] = []
    rita.on("request", lambda request: asked.append(request.url))
    release = held_back(rita, lambda: adam.reject({"id": second, "tool": LIST[0]}, "Not this one."))
    rita.keyboard.press("a")
    expect(rita.locator(f'.row[data-id="{second}"]')).to_have_attribute("data-state", "rejected")
    rita.keyboard.press("z")
    release()
    expect(rita.locator(".toast.bad")).to_be_visible()
    assert [url for url in asked if url.endswith("/undo/")] == []
    assert alice.state(first) == "approved"


def test_shortcuts_can_be_switched_off(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    rita.keyboard.press("?")
    with rita.expect_response("**/settings/keys/"):
        rita.uncheck("#keys-on")
    rita.keyboard.press("Escape")
    armed(rita)
    rita.keyboard.press("a")
    armed(rita)
    assert alice.state(gate) == "pending"
    expect(rita.locator("#decide .approve kbd")).to_be_hidden()
    rita.click("#decide .approve")
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "approved")
    # On again, for whoever comes after: the setting is hers, not this page's.
    rita.click("summary:has-text('Rita Rossi')")
    rita.click("[data-open-keys]")
    with rita.expect_response("**/settings/keys/"):
        rita.check("#keys-on")
