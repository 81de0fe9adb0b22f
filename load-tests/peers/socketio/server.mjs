// A chat server as Socket.IO's own pages would have it, in one process: what chatlab's fan-out is compared with.
//
// It does for a message what chatlab's server does, and no more: it numbers nothing, resumes nothing and archives nothing.
//   connect  the token is verified: JWT, HS256, not expired
//   join     into a room
//   message  one ZADD (the room's history) and one XADD (the event stream, bounded), in one round trip; then to everybody
//            in the room through the Redis adapter, and the acknowledgement to the sender
//
// PORT (0: any), REDIS_URL and JWT_SECRET come by environment. It prints `READY port pid`, and ends when its input does.

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import process from "node:process";

import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { PORT = "0", REDIS_URL = "redis://127.0.0.1:6379", JWT_SECRET } = process.env;
const MAX_BODY = 4096;
const MAX_ROOM = 64;
const EVENTS_KEPT = 100_000;

if (!JWT_SECRET || JWT_SECRET.length < 32) {
  console.error("JWT_SECRET must have at least 32 characters");
  process.exit(2);
}

/** Whom a token is for; throws when it is not valid. */
function verify(token) {
  const [head, claims, signature, ...more] = String(token).split(".");
  const expected = createHmac("sha256", JWT_SECRET).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature ?? "", "base64url");
  if (more.length > 0 || given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new Error("unauthorized");
  }
  const read = (part) => JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  const { sub, exp } = read(claims);
  if (read(head).alg !== "HS256" || typeof sub !== "string" || !(exp > Date.now() / 1000)) {
    throw new Error("unauthorized");
  }
  return sub;
}

const isRoom = (room) => typeof room === "string" && room.length > 0 && room.length <= MAX_ROOM;
const isBody = (body) => typeof body === "string" && body.length > 0 && body.length <= MAX_BODY;

async function connected() {
  const client = createClient({ url: REDIS_URL });
  client.on("error", (error) => console.error(`redis: ${error.message}`));
  await client.connect();
  return client;
}

// The adapter publishes and subscribes on connections of its own.
const [redis, pub, sub] = await Promise.all([connected(), connected(), connected()]);
const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(pub, sub),
  transports: ["websocket"],
  serveClient: false,
});

io.use((socket, next) => {
  try {
    socket.data.user = verify(socket.handshake.auth.token);
    next();
  } catch {
    next(new Error("unauthorized"));
  }
});

io.on("connection", (socket) => {
  socket.on("join", async (room, done) => {
    if (typeof done !== "function") return;
    if (!isRoom(room)) return done({ ok: false, code: "invalid" });
    await socket.join(room);
    done({ ok: true });
  });

  socket.on("message", async ({ room, cid, body } = {}, done) => {
    if (typeof done !== "function") return;
    if (!isRoom(room) || !isBody(body)) return done({ ok: false, code: "invalid" });
    if (!socket.rooms.has(room)) return done({ ok: false, code: "bad_state" });
    const message = { id: randomUUID(), ts: Date.now(), room, from: socket.data.user, cid, kind: "text", body };
    const json = JSON.stringify(message);
    try {
      await Promise.all([
        redis.zAdd(`room:${room}:messages`, { score: message.ts, value: json }),
        redis.xAdd("events:message.created", "*", { event: json }, {
          TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: EVENTS_KEPT },
        }),
      ]);
    } catch {
      return done({ ok: false, code: "unavailable" });
    }
    io.to(room).emit("message", message);
    done({ ok: true, id: message.id, ts: message.ts });
  });
});

process.stdin.on("end", () => process.exit(0)).resume();
http.listen(Number(PORT), "127.0.0.1", () => console.log(`READY ${http.address().port} ${process.pid}`));
