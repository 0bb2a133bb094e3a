// Has Chromium's own developer tools load heap snapshots, and compares what they find with what was counted.
//
// `node check.mjs CHROMIUM SNAPSHOT COUNTED...`: pairs of files. COUNTED is JSON: how many nodes there are, the objects' bytes in all, and
// for each class its objects and bytes; and for a small snapshot every reference between objects, as [name, name of the slot, name].
//
// The tools' front end is part of the browser. Its Memory panel has a worker load and analyse snapshots, to which it speaks by messages:
// the same worker is started here, and spoken to as the panel does.

import { readFileSync } from "node:fs";

import { Chromium } from "./chromium.mjs";

const FRONT_END = "devtools://devtools/bundled/devtools_app.html";

// In the page: what the Memory panel does to load a snapshot.
const LOADER = `
  const start = () => {
    const url = "devtools://devtools/bundled/entrypoints/heap_snapshot_worker/heap_snapshot_worker-entrypoint.js";
    const worker = new Worker(url, { type: "module" });
    const calls = new Map();
    let last = 0;
    worker.onmessage = ({ data }) => {
      if (data.callId === undefined || !calls.has(data.callId)) return;
      const { resolve, reject } = calls.get(data.callId);
      calls.delete(data.callId);
      if (data.error) reject(new Error(data.error + " in " + data.errorMethodName + "\\n" + data.errorCallStack));
      else resolve(data.result);
    };
    const ready = new Promise((resolve, reject) => {
      worker.addEventListener("message", ({ data }) => { if (data === "workerReady") resolve(); });
      worker.onerror = (error) => reject(new Error("the worker did not start: " + error.message));
    });
    return async (message, ports = []) => {
      await ready;
      return new Promise((resolve, reject) => {
        const callId = ++last;
        calls.set(callId, { resolve, reject });
        worker.postMessage({ ...message, callId }, ports);
      });
    };
  };
  const LOADER = 1, SNAPSHOT = 2;
  globalThis.first = start();
  globalThis.second = start();
  globalThis.method = (methodName, ...methodArguments) =>
    first({ disposition: "method", objectId: LOADER, methodName, methodArguments });
  globalThis.build = async () => {
    const { port1, port2 } = new MessageChannel();
    await method("close");
    second({ disposition: "setupForSecondaryInit", objectId: LOADER }, [port2]);
    const factory = { disposition: "factory", objectId: LOADER, methodName: "buildSnapshot", methodArguments: [], newObjectId: SNAPSHOT };
    if (!await first(factory, [port1])) throw new Error("no snapshot was built");
  };
  globalThis.ask = (methodName, ...methodArguments) =>
    first({ disposition: "method", objectId: SNAPSHOT, methodName, methodArguments });
  // All items of a provider, which is what the panel takes rows of a table from.
  let provider = SNAPSHOT;
  globalThis.items = async (methodName, methodArguments, order) => {
    const objectId = ++provider;
    await first({ disposition: "factory", objectId: SNAPSHOT, methodName, methodArguments, newObjectId: objectId });
    const ask = (methodName, ...methodArguments) => first({ disposition: "method", objectId, methodName, methodArguments });
    await ask("sortAndRewind", { fieldName1: order, ascending1: true, fieldName2: "id", ascending2: true });
    const { items } = await ask("serializeItemsRange", 0, 1000);
    return items;
  };
  globalThis.edges = async () => {
    const edges = [];
    for (const key of Object.keys(await ask("aggregatesWithFilter", {}))) {
      for (const node of await items("createNodesProviderForClass", [key, {}], "name")) {
        for (const edge of await items("createEdgesProvider", [node.nodeIndex], "!edgeName")) {
          edges.push([node.name, edge.name, edge.node.name]);
        }
      }
    }
    return edges;
  };
  globalThis.get = (methodName) => first({ disposition: "getter", objectId: SNAPSHOT, methodName });
  first({ disposition: "createLoader", objectId: LOADER, methodName: "" }).then(() => true)`;

// What the tools make of a snapshot.
async function load(browser, text, wants_edges) {
  const page = await browser.open(FRONT_END);
  await page(LOADER);
  for (let at = 0; at < text.length; at += 1 << 20) {
    await page(`method("write", ${JSON.stringify(text.slice(at, at + (1 << 20)))}).then(() => true)`);
  }
  await page("build().then(() => true)");
  const aggregates = await page("ask('aggregatesWithFilter', {})");
  return {
    nodes: await page("get('nodeCount')"),
    total: await page("get('totalSize')"),
    classes: Object.values(aggregates).map(({ name, count, self }) => [name, count, self]),
    edges: wants_edges ? await page("edges()") : [],
  };
}

function compare(found, counted) {
  const differences = [];
  const equal = (what, one, other) => {
    if (one !== other) differences.push(`${what}: the tools find ${one}, counted were ${other}`);
  };
  equal("nodes", found.nodes, counted.nodes);
  equal("bytes retained by the root", found.total, counted.bytes);
  const rest = new Map(Object.entries(counted.classes));
  for (const [name, objects, bytes] of found.classes) {
    // Nodes that are no objects.
    if (name === "(system)") continue;
    const [expected_objects, expected_bytes] = rest.get(name) ?? [0, 0];
    rest.delete(name);
    equal(`objects of ${name}`, objects, expected_objects);
    equal(`bytes of ${name}`, bytes, expected_bytes);
  }
  for (const [name, [objects]] of rest) equal(`objects of ${name}`, 0, objects);
  const lines = (edges) => (edges ?? []).map((edge) => edge.join(" -> ")).sort();
  equal("references", lines(found.edges).join("; "), lines(counted.edges).join("; "));
  return differences;
}

const [executable, ...files] = process.argv.slice(2);
const browser = new Chromium(executable);
let failed = 0;
try {
  const { product } = await browser.call("Browser.getVersion");
  console.log(`the developer tools of ${product}`);
  for (let at = 0; at < files.length; at += 2) {
    const counted = JSON.parse(readFileSync(files[at + 1], "utf8"));
    const found = await load(browser, readFileSync(files[at], "utf8"), counted.edges !== undefined);
    const differences = compare(found, counted);
    failed += differences.length;
    console.log(`${files[at]}: ${found.nodes} nodes, ${found.classes.length} classes, ${found.total} bytes, ${found.edges.length} references compared`);
    for (const difference of differences) console.log(`  ${difference}`);
  }
} finally {
  await browser.close();
}
console.log(failed === 0 ? "all as counted" : `${failed} differences`);
process.exitCode = failed === 0 ? 0 : 1;
