// A browser without a window, driven through its developer protocol over two pipes: nothing but Node is needed.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Chromium {
  #process;
  #folder = mkdtempSync(join(tmpdir(), "heapsnapshot-"));
  #calls = new Map();
  #last = 0;
  #rest = "";

  constructor(executable) {
    const options = [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--remote-debugging-pipe", `--user-data-dir=${this.#folder}`, "about:blank",
    ];
    this.#process = spawn(executable, options, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.#process.on("error", (error) => this.#fail(error));
    this.#process.on("exit", (code) => this.#fail(new Error(`Chromium has ended with ${code}`)));
    this.#process.stdio[3].on("error", (error) => this.#fail(error));
    this.#process.stdio[4].setEncoding("utf8");
    this.#process.stdio[4].on("data", (data) => this.#receive(data));
  }

  #fail(error) {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  #receive(data) {
    const messages = (this.#rest + data).split("\0");
    this.#rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      const call = this.#calls.get(message.id);
      if (!call) continue;
      this.#calls.delete(message.id);
      if (message.error) call.reject(new Error(message.error.message));
      else call.resolve(message.result);
    }
  }

  call(method, params = {}, sessionId = undefined) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    });
  }

  // A page, as a function that evaluates an expression in it.
  async open(url) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const { errorText } = await this.call("Page.navigate", { url }, sessionId);
    if (errorText) throw new Error(`${url}: ${errorText}`);
    return async (expression) => {
      const params = { expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await this.call("Runtime.evaluate", params, sessionId);
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    };
  }

  async close() {
    const ended = new Promise((resolve) => this.#process.on("exit", resolve));
    await this.call("Browser.close").catch(() => this.#process.kill());
    await ended;
    // Helpers of the browser that end a moment later may still write.
    try {
      rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20 });
    } catch (error) {
      console.log(`${this.#folder} is left behind: ${error.message}`);
    }
  }
}
