// The page of the channel written by hand: see by_hand.py.
{
    const HEAD = 5;
    const BYTES = 0;
    const PIECE = 1;
    const MOST_BUFFERED = 4 * 2 ** 20;
    const socket = new WebSocket(location.origin.replace('http', 'ws'));
    const answers = new Map();
    const streams = new Map();
    let last = 0;
    socket.binaryType = 'arraybuffer';

    function headOf(kind, number, rest) {
        const frame = new Uint8Array(HEAD + rest);
        const view = new DataView(frame.buffer);
        view.setUint8(0, kind);
        view.setUint32(1, number, true);
        return frame;
    }

    // A queue between the socket and whoever reads a stream.
    function streamOf(number) {
        if (!streams.has(number)) streams.set(number, {pieces: [], wake: null});
        return streams.get(number);
    }

    async function* read(number) {
        const stream = streamOf(number);
        for (;;) {
            while (stream.pieces.length === 0) await new Promise((resolve) => { stream.wake = resolve; });
            const piece = stream.pieces.shift();
            if (piece.length === 0) break;
            yield piece;
        }
        streams.delete(number);
    }

    async function pump(number, source) {
        for await (const piece of source) {
            while (socket.bufferedAmount > MOST_BUFFERED) await new Promise((resolve) => { setTimeout(resolve, 1); });
            const frame = headOf(PIECE, number, piece.length);
            frame.set(piece, HEAD);
            socket.send(frame);
        }
        socket.send(headOf(PIECE, number, 0));
    }

    function call(name, ...args) {
        last += 1;
        const id = last;
        const answer = new Promise((resolve, reject) => { answers.set(id, {resolve, reject}); });
        if (args[0] instanceof Uint8Array) {
            const text = new TextEncoder().encode(JSON.stringify({id, call: name}));
            const frame = headOf(BYTES, text.length, text.length + args[0].length);
            frame.set(text, HEAD);
            frame.set(args[0], HEAD + text.length);
            socket.send(frame);
        } else {
            socket.send(JSON.stringify({id, call: name, args}));
        }
        return answer;
    }

    const handler = {...makeHandler(call), pipe: (stream) => stream};

    async function take({id, call: name, args, stream, result, error}) {
        if (name === undefined) {
            const {resolve, reject} = answers.get(id);
            answers.delete(id);
            if (error === undefined) resolve(result);
            else reject(new Error(error));
            return;
        }
        try {
            let value = handler[name](...(stream === undefined ? args : [read(stream)]));
            if (value instanceof Promise) value = await value;
            if (value?.[Symbol.asyncIterator]) {
                socket.send(JSON.stringify({id, stream: id}));
                await pump(id, value);
            } else {
                socket.send(JSON.stringify({id, result: value}));
            }
        } catch (failure) {
            socket.send(JSON.stringify({id, error: String(failure)}));
        }
    }

    socket.onmessage = ({data}) => {
        if (typeof data === 'string') {
            take(JSON.parse(data));
            return;
        }
        const view = new DataView(data);
        const number = view.getUint32(1, true);
        if (view.getUint8(0) === PIECE) {
            const stream = streamOf(number);
            stream.pieces.push(new Uint8Array(data, HEAD));
            stream.wake?.();
        } else {
            const message = JSON.parse(new TextDecoder().decode(new Uint8Array(data, HEAD, number)));
            take({...message, args: [new Uint8Array(data, HEAD + number)]});
        }
    };
}
