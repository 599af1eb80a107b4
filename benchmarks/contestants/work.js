// What the page of every contestant does. `makeHandler(call)` returns the methods that Python calls; `call(name, ...args)` calls
// Python. The methods whose names begin with `time` return milliseconds.
function makeHandler(call) {
    const PIECE = 64 * 1024;
    const piece = new Uint8Array(PIECE);

    async function* generate(size) {
        for (let left = size; left > 0; left -= PIECE) yield left < PIECE ? piece.subarray(0, left) : piece;
    }

    async function take(stream) {
        let size = 0;
        for await (const chunk of stream) size += chunk.length;
        return size;
    }

    async function timeEach(times, work) {
        const began = performance.now();
        for (let i = 0; i < times; i += 1) await work(i);
        return (performance.now() - began) / times;
    }

    async function check(answer, expected) {
        const got = await answer;
        if (got !== expected) throw new Error(`${got} instead of ${expected}`);
    }

    return {
        add: (a, b) => a + b,
        echo: (value) => value,
        size: (value) => value.length ?? value.byteLength,
        take,
        generate,
        timeInTurn: (count) => timeEach(count, (i) => check(call('add', i, 1), i + 1)),
        timeAtOnce: (count, times) => timeEach(times, () => Promise.all(
            Array.from({length: count}, (_, i) => check(call('add', i, 1), i + 1)),
        )),
        timeRecords(count, times) {
            const records = Array.from({length: count}, (_, i) => (
                {id: i, name: `record number ${i}`, score: i / 7, tags: ['red', 'green', 'blue'], even: i % 2 === 0}
            ));
            return timeEach(times, () => check(call('size', records), count));
        },
        timeBytes(size, times) {
            const bytes = new Uint8Array(size);
            return timeEach(times, () => check(call('size', bytes), size));
        },
    };
}
