// Runs kinesis-local in this process, on a free loopback port: by itself it listens on all addresses, on fixed
// ports. Prints one JSON line when it serves and ends when its standard input does, or by SIGTERM.

const net = require("node:net");
const process = require("node:process");

const PLAIN_PORT = 4568; // what it is told by KINESIS_MOCK_PLAIN_PORT; never really used
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  const options = typeof args[0] === "object" ? args[0] : { port: args[0] };
  const callback = args.findLast((arg) => typeof arg === "function");
  if (Number(options.port) === PLAIN_PORT) {
    this.once("listening", () => {
      process.stdout.write(JSON.stringify({ url: `http://127.0.0.1:${this.address().port}` }) + "\n");
    });
  }
  return listen.call(this, { port: 0, host: "127.0.0.1" }, callback);
};

// Its own orderly shutdown waits for idle connections; there is nothing to save.
const end = () => process.kill(process.pid, "SIGKILL");
process.stdin.resume().on("end", end);
process.prependListener("SIGTERM", end);
require("kinesis-local/main.js");
