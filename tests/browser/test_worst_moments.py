"""Keys and clicks at the worst moments decide nothing that was not meant."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select

READ = ("read_file", {"path": "notes.txt"})
LIST = ("list_directory", {"path": "."})


def test_a_key_right_after_a_change_of_selection_decides_nothing(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    gates = alice.ask(READ, LIST)
    select(rita, gates[0])
    for _ in range(4):
        rita.keyboard.press("j")
        rita.keyboard.press("a")
        rita.keyboard.press("k")
        rita.keyboard.press("a")
        rita.keyboard.press("r")
    armed(rita)
    assert [alice.state(gate) for gate in gates] == ["pending", "pending"]


def test_a_key_meant_for_a_next_call_that_there_is_not_decides_nothing(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    rita.keyboard.press("j")
    rita.keyboard.press("a")
    armed(rita)
    assert alice.state(gate) == "pending"
    # Opening and closing the other ways to deal with it moves the bar as well.
    for key in ("m", "q"):
        rita.keyboard.press(key)
        rita.locator("h2#sentence").click()
        rita.keyboard.press(key)
        rita.keyboard.press("a")
        armed(rita)
        rita.keyboard.press(key)
        rita.keyboard.press("Escape")
        rita.keyboard.press("a")
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
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
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
    rita.locator(f'.row[data-id="{gates[-1]}"]').wait_for()
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
    rita = live_queue()
    alice.ask(READ, LIST, ("read_file", {"path": "b.txt"}), ("read_file", {"path": "c.txt"}))
    expect(rita.locator(".row")).to_have_count(4)
    gates = rita.locator(".row").evaluate_all("rows => rows.map((row) => row.dataset.id)")
    select(rita, gates[0])
    for key in "jajaja":
        rita.keyboard.press(key)
    expect(rita.locator(f'.row[data-id="{gates[3]}"] a')).to_have_attribute("aria-current", "true")
    rita.wait_for_selector(f'#gate[data-id="{gates[3]}"]:not([aria-busy="true"])')
    armed(rita)
    assert [alice.state(gate) for gate in gates] == ["pending"] * 4
    rita.keyboard.press("a")
    expect(rita.locator(f'.row[data-id="{gates[3]}"]')).to_have_attribute("data-state", "approved")


def test_shortcuts_can_be_switched_off(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    rita.keyboard.press("?")
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
