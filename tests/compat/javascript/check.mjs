// The official JavaScript client against a server: check.mjs HOST PORT. Ends with status 0 only where
// everything held.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { ChromaClient, ChromaNotFoundError } from "chromadb";

const [host, port] = process.argv.slice(2);
const client = new ChromaClient({ host, port: Number(port), ssl: false });
assert.ok((await client.heartbeat()) > 0);
const name = `js-${randomUUID()}`;
const made = await client.createCollection({
  name,
  embeddingFunction: null,
  metadata: { kind: "check" },
  configuration: { hnsw: { space: "cosine" } },
});
await assert.rejects(client.createCollection({ name, embeddingFunction: null }));

const rows = [...Array(20).keys()];
await made.add({
  ids: rows.map((row) => `r${row}`),
  embeddings: rows.map((row) => [Math.cos(row / 10), Math.sin(row / 10), 0.5]),
  documents: rows.map((row) => `document ${row}`),
  metadatas: rows.map((row) => ({ n: row, even: row % 2 === 0 })),
});
assert.equal(await made.count(), 20);

const all = await made.get({ include: ["embeddings", "documents", "metadatas"] });
assert.deepEqual(all.ids, rows.map((row) => `r${row}`));
assert.equal(all.documents[3], "document 3");
assert.deepEqual(all.metadatas[4], { n: 4, even: true });
assert.ok(Math.abs(all.embeddings[7][0] - Math.cos(0.7)) < 1e-6);

const filtered = await made.get({
  where: { $and: [{ n: { $gte: 5 } }, { even: true }] },
  whereDocument: { $contains: "document 1" },
});
assert.deepEqual(filtered.ids, ["r10", "r12", "r14", "r16", "r18"]);

const near = await made.query({
  queryEmbeddings: [[Math.cos(0.9), Math.sin(0.9), 0.5]],
  nResults: 3,
  where: { even: false },
});
assert.equal(near.ids[0][0], "r9");
assert.ok(near.distances[0][0] < 1e-6 && near.distances[0][1] > near.distances[0][0]);

await made.update({ ids: ["r0"], documents: ["changed"], embeddings: [[1, 2, 3]] });
await made.upsert({ ids: ["new"], embeddings: [[3, 2, 1]], metadatas: [{ n: 99 }] });
assert.deepEqual((await made.get({ ids: ["r0"] })).documents, ["changed"]);
assert.equal((await made.peek({ limit: 2 })).ids.length, 2);
await made.delete({ ids: ["r1"] });
await made.delete({ where: { n: { $gt: 15 } } });
assert.equal(await made.count(), 15);

await assert.rejects(made.add({ ids: ["x"], embeddings: [[1, 2]] }), /dimension/);
await made.modify({ name: `${name}-renamed` });
const found = await client.getCollection({ name: `${name}-renamed`, embeddingFunction: null });
assert.equal(found.metadata.kind, "check");
await client.deleteCollection({ name: `${name}-renamed` });
await assert.rejects(client.getCollection({ name, embeddingFunction: null }), ChromaNotFoundError);
console.log("all held");
