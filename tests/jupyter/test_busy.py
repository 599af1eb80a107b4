"""A channel from cells that are busy, in the three front ends."""

from playwright.sync_api import expect

from tests.jupyter.conftest import Notebooks

START = "import time\nimport jchannel\nserver = await jchannel.start()"

CODE = """
(channel) => {
    const box = document.createElement("div");
    box.style = "position: fixed; top: 0; left: 0; z-index: 100000; background: white";
    box.innerHTML = "<button id='stop'>Stop</button> <button id='ask'>How far?</button> <output id='shown'></output>";
    document.body.append(box);
    const [stop, ask, shown] = box.children;
    stop.onclick = () => channel.call("stop");
    ask.onclick = async () => { shown.value = `at ${await channel.call("progress")}`; };
    const drawn = [];
    channel.handler = {
        add: (a, b) => a + b,
        draw(step) {
            if (step === 0) drawn.length = 0;
            drawn.push(step);
            shown.value = `drawn ${drawn.join(" ")}`;
        },
        hang() {
            const {signal} = channel;
            shown.value = "hanging";
            return new Promise((_, reject) => {
                signal.addEventListener("abort", () => { shown.value = "cancelled"; reject(signal.reason); });
            });
        },
    };
}
"""

OPEN = f"""
class Handler:
    stopped = False

    @jchannel.background
    def stop(self):
        self.stopped = True

    @jchannel.background
    async def progress(self):
        return 42

channel = await server.open({CODE!r})
channel.handler = handler = Handler()
"""

BUSY = [
    f"""
handler.stopped = False
tasks = [channel.call("draw", step) for step in range(20)]
while not handler.stopped:
    {step}
print("stopped", any(task.done() for task in tasks))
"""
    for step in ("time.sleep(0.01)", "sum(number * number for number in range(1_000))")
]
"""A cell that sleeps, and one that computes."""


def test_a_busy_cell_draws_is_asked_and_is_stopped(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, OPEN, *BUSY, "for task in tasks: await task\nprint('delivered')"])
    notebook.run(0)
    notebook.run(1)
    shown = notebook.page.locator("#shown")

    for busy in (2, 3):
        notebook.start(busy)

        expect(shown).to_have_text("drawn " + " ".join(str(step) for step in range(20)))
        notebook.page.locator("#ask").click()
        expect(shown).to_have_text("at 42")
        notebook.page.locator("#stop").click()
        notebook.wait_done(busy)
        assert notebook.text(busy) == "stopped False\n"
        assert notebook.run(4) == "delivered\n"
    assert notebook.complaints == []


def test_a_cell_that_waits_for_the_page_is_interrupted(notebooks: Notebooks) -> None:
    notebook = notebooks.open(
        [START, OPEN, "channel.sync.call('hang', timeout=None)", "channel.sync.call('add', 2, 3)"],
    )
    notebook.run(0)
    notebook.run(1)
    shown = notebook.page.locator("#shown")

    notebook.start(2)
    expect(shown).to_have_text("hanging")
    notebook.interrupt()
    notebook.wait_done(2)

    assert "KeyboardInterrupt" in notebook.text(2)
    expect(shown).to_have_text("cancelled")
    assert notebook.run(3) == "5"


def test_a_page_connects_to_a_server_that_was_started_in_a_cell_that_is_still_busy(notebooks: Notebooks) -> None:
    cell = f"""
channel = jchannel.Channel(server, {CODE!r})
opening = channel.open(timeout=60)
print(channel.sync.call("add", 2, 3, timeout=60), opening.done())
"""
    notebook = notebooks.open([f"{START}\n{cell}"])

    assert notebook.run(0).endswith("5 False\n")


def test_a_failed_call_that_nobody_awaits_is_shown_in_its_cell(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, OPEN, "channel.call('missing'); None", "await channel.echo()"])
    notebook.run(0)
    notebook.run(1)

    notebook.run(2)
    notebook.run(3)

    expect(notebook.output(2)).to_contain_text("channel.call('missing') has failed, and nobody has awaited it")
    expect(notebook.output(2)).to_contain_text("FrontendError")
