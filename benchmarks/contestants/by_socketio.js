// The page of by_socketio.py.
{
    const WINDOW = 16;
    const socket = io({transports: ['websocket']});
    const streams = new Map();

    function streamOf(number) {
        if (!streams.has(number)) streams.set(number, {pieces: [], wake: null});
        return streams.get(number);
    }

    // A piece is acknowledged when it is read, which bounds those that wait.
    async function* read(number) {
        const stream = streamOf(number);
        for (;;) {
            while (stream.pieces.length === 0) await new Promise((resolve) => { stream.wake = resolve; });
            const {piece, acknowledge} = stream.pieces.shift();
            acknowledge();
            if (piece.byteLength === 0) break;
            yield new Uint8Array(piece);
        }
        streams.delete(number);
    }

    async function pump(number, source) {
        const underWay = [];
        const send = async (piece) => {
            if (underWay.length === WINDOW) await underWay.shift();
            underWay.push(socket.emitWithAck('piece', number, piece));
        };
        for await (const piece of source) await send(piece);
        await send(new Uint8Array());
    }

    const handler = {
        ...makeHandler((name, ...args) => socket.emitWithAck('call', name, args)),
        pipe: (stream) => stream,
    };

    socket.on('piece', (number, piece, acknowledge) => {
        const stream = streamOf(number);
        stream.pieces.push({piece, acknowledge});
        stream.wake?.();
    });
    socket.on('call', async (number, name, args, hasStream, answer) => {
        try {
            let value = handler[name](...(hasStream ? [read(number)] : args));
            if (value instanceof Promise) value = await value;
            if (value?.[Symbol.asyncIterator]) {
                answer({stream: true});
                await pump(number, value);
            } else {
                answer({result: value});
            }
        } catch (failure) {
            answer({error: String(failure)});
        }
    });
}
