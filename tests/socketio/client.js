// The official Socket.IO client for Node.js, driven by tests/socketio.rs: a command a line on standard input, and what happens a
// line on standard output. client.py does the same with python-socketio.
//
//   {"id":1,"op":"open","url":"http://…","token":"…","transports":["websocket"]}
//   {"id":2,"op":"emit","event":"message","data":{…}}     the answer is the acknowledgement
//   {"id":3,"op":"join","room":"…"}                        joins, and again with the last position after every reconnect
//   {"id":4,"op":"transport"}
//   {"id":5,"op":"close"}
"use strict";
const readline = require("node:readline");
const { io } = require("socket.io-client");

const ACK_TIMEOUT_MS = 20000;
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

let socket = null;
// For each joined room where to go on from.
const positions = new Map();

function track(event, data) {
  if (event === "message" && positions.has(data.room)) {
    positions.set(data.room, { epoch: data.epoch, seq: data.seq, id: data.id });
  } else if (event === "resync" && positions.has(data.room)) {
    positions.set(data.room, data.head);
  }
}

async function emit(event, data) {
  return socket.timeout(ACK_TIMEOUT_MS).emitWithAck(event, data);
}

async function join(room) {
  const after = positions.get(room);
  if (after === undefined) positions.set(room, null);
  const answer = await emit("chat:join", after ? { room, after } : { room });
  // What was missed may have come before this answer is looked at.
  if (!answer.error && positions.get(room) === null) positions.set(room, answer.head);
  return answer;
}

function open({ url, token, transports }) {
  return new Promise((resolve) => {
    socket = io(url, {
      auth: { token },
      transports,
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
      forceNew: true,
    });
    socket.onAny((event, data) => {
      track(event, data);
      say({ event, data });
    });
    socket.on("connect", async () => {
      say({ event: "connect" });
      resolve({ connected: true });
      for (const room of positions.keys()) say({ event: "rejoined", data: await join(room) });
    });
    socket.on("connect_error", (error) => {
      say({ event: "connect_error", data: error.data ?? error.message });
      if (error.data) resolve({ refused: error.data, message: error.message });
    });
    socket.on("disconnect", (reason) => say({ event: "disconnect", data: reason }));
  });
}

async function obey(command) {
  switch (command.op) {
    case "open":
      return open(command);
    case "emit":
      return emit(command.event, command.data);
    case "join":
      return join(command.room);
    case "transport":
      return socket.io.engine.transport.name;
    case "close":
      socket.disconnect();
      return true;
    default:
      throw new Error(`no such op: ${command.op}`);
  }
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    say({ id: command.id, answer: await obey(command) });
  } catch (error) {
    say({ id: command.id, failed: String(error) });
  }
});
lines.on("close", () => process.exit(0));
