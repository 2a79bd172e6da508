// Backends on ports of their own, and the gateway before them.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const DEADLINE = 20_000;

// Waits until `look` gives something true, and gives that back.
export async function until(what, look) {
  const end = Date.now() + DEADLINE;
  let seen;
  do {
    seen = await look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (Date.now() < end);
  throw new Error(`${what} did not come in ${DEADLINE} ms`);
}

async function listen(server, port = 0) {
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return server.address().port;
}

async function freePort() {
  const server = net.createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// A backend that is healthy as long as `healthy` says so, and sends every WebSocket a text ten times a second.
class Backend {
  healthy = true;
  sockets = new Set();

  constructor() {
    this.server = createServer((request, response) => {
      response.statusCode = request.url === "/healthz" && !this.healthy ? 503 : 200;
      response.end("ok\n");
    });
    this.server.on("upgrade", (request, socket) => {
      const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest("base64")}\r\n\r\n`);
      this.sockets.add(socket);
      const text = Buffer.from("a".repeat(120));
      const timer = setInterval(() => socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text])), 100);
      const over = () => { clearInterval(timer); this.sockets.delete(socket); };
      socket.on("close", over).on("error", over).resume();
    });
  }
}

function service(namespace, name, ports) {
  const slices = ports.map((port, number) => `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}-${number}, namespace: ${namespace}, labels: {kubernetes.io/service-name: ${name}}}
addressType: IPv4
ports: [{port: ${port}}]
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}}]
`);
  return `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec: {ports: [{port: 80}]}
${slices.join("")}`;
}

export class Stack {
  backends = {};
  clients = [];

  static async start(binary) {
    const stack = new Stack();
    stack.folder = mkdtempSync(join(tmpdir(), "penstock-dashboard-"));
    mkdirSync(join(stack.folder, "manifests"));
    const ports = {};
    for (const name of ["web", "web2", "chat", "canary", "handbook"]) {
      stack.backends[name] = new Backend();
      ports[name] = await listen(stack.backends[name].server);
    }
    for (const name of ["http", "internal", "admin"]) ports[name] = await freePort();
    stack.ports = ports;
    stack.write("services.yaml", [
      service("shop", "web", [ports.web, ports.web2]), service("shop", "chat", [ports.chat]),
      service("shop", "chat-canary", [ports.canary]), service("docs", "handbook", [ports.handbook]),
    ].join("---\n"));
    const yaml = readFileSync(new URL("manifests.yaml", import.meta.url), "utf8");
    stack.write("objects.yaml", yaml.replace(/\$(\w+)/g, (_, name) => ports[name]));
    const arguments_ = ["run", "--manifests", join(stack.folder, "manifests"), "--bind-address", "127.0.0.1",
      "--admin-address", `127.0.0.1:${ports.admin}`, "--workers", "1", "--drain-timeout", "5s"];
    stack.log = "";
    stack.process = spawn(binary, arguments_, { stdio: ["ignore", "ignore", "pipe"] });
    stack.process.stderr.on("data", (data) => { stack.log += data; });
    stack.ended = new Promise((resolve) => stack.process.once("exit", (code) => resolve(code)));
    stack.admin = `http://127.0.0.1:${ports.admin}`;
    await until("readiness", () => fetch(`${stack.admin}/readyz`).then((answer) => answer.ok, () => false));
    return stack;
  }

  write(name, text) {
    writeFileSync(join(this.folder, "manifests", name), text);
  }

  remove(name) {
    rmSync(join(this.folder, "manifests", name));
  }

  openWebSockets(host, number) {
    const handshake = `GET /room HTTP/1.1\r\nHost: ${host}:${this.ports.http}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (let opened = 0; opened < number; opened += 1) {
      const socket = net.connect(this.ports.http, "127.0.0.1", () => socket.write(handshake));
      socket.on("error", () => {}).resume();
      this.clients.push(socket);
    }
  }

  closeWebSockets() {
    this.clients.forEach((client) => client.destroy());
  }

  // Ends whatever still runs.
  stop() {
    this.process.kill("SIGKILL");
    this.closeWebSockets();
    for (const { server, sockets } of Object.values(this.backends)) {
      sockets.forEach((socket) => socket.destroy());
      server.closeAllConnections();
      server.close();
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
