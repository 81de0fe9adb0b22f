"""python-socketio, driven by tests/socketio.rs: a command a line on standard input, and what happens a line on standard output.
client.js does the same with the official client for Node.js; the commands are described there."""

import asyncio
import json
import sys

import socketio

ACK_TIMEOUT_S = 20


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Client:
    def __init__(self):
        self.sio = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2)
        # For each joined room where to go on from.
        self.positions = {}
        self.sio.on("*", self.happened)
        self.sio.on("connect", self.connected)
        self.sio.on("connect_error", self.refused)
        self.sio.on("disconnect", self.disconnected)
        self.refusal = None

    async def happened(self, event, data):
        if event == "message" and data["room"] in self.positions:
            self.positions[data["room"]] = {key: data[key] for key in ("epoch", "seq", "id")}
        elif event == "resync" and data["room"] in self.positions:
            self.positions[data["room"]] = data["head"]
        say({"event": event, "data": data})

    async def connected(self):
        say({"event": "connect"})
        # Not here: the client waits for the end of this before it counts as connected.
        self.sio.start_background_task(self.rejoin)

    async def rejoin(self):
        for room in list(self.positions):
            say({"event": "rejoined", "data": await self.join(room)})

    async def refused(self, data):
        self.refusal = data
        say({"event": "connect_error", "data": data})

    async def disconnected(self, reason=None):
        say({"event": "disconnect", "data": reason})

    async def emit(self, event, data):
        return await self.sio.call(event, data, timeout=ACK_TIMEOUT_S)

    async def join(self, room):
        after = self.positions.get(room)
        self.positions.setdefault(room, None)
        answer = await self.emit("chat:join", {"room": room, "after": after} if after else {"room": room})
        # What was missed may have come before this answer is looked at.
        if "error" not in answer and self.positions[room] is None:
            self.positions[room] = answer["head"]
        return answer

    async def open(self, url, token, transports):
        try:
            await self.sio.connect(url, auth={"token": token}, transports=transports, wait_timeout=ACK_TIMEOUT_S)
        except socketio.exceptions.ConnectionError as error:
            refusal = self.refusal if isinstance(self.refusal, dict) else {}
            return {"refused": refusal.get("data"), "message": refusal.get("message", str(error))}
        return {"connected": True}

    async def obey(self, command):
        op = command["op"]
        if op == "open":
            return await self.open(command["url"], command["token"], command["transports"])
        if op == "emit":
            return await self.emit(command["event"], command["data"])
        if op == "join":
            return await self.join(command["room"])
        if op == "transport":
            return self.sio.transport()
        if op == "close":
            await self.sio.disconnect()
            return True
        raise ValueError(f"no such op: {op}")

    async def answer(self, command):
        try:
            say({"id": command["id"], "answer": await self.obey(command)})
        except Exception as error:  # told to the test, which fails by it
            say({"id": command["id"], "failed": repr(error)})


async def main():
    client = Client()
    loop = asyncio.get_running_loop()
    running = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(client.answer(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
