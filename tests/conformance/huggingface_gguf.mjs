// @huggingface/gguf, an independent parser, reads our files and agrees on every key and tensor with
// `quern inspect --json --full`.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const source = process.env.QUERN_SOURCE, quern = process.env.QUERN;
const module = join(source, "build/npm/node_modules/@huggingface/gguf/dist/index.mjs");
if (!existsSync(module)) {
  console.log("skipped: @huggingface/gguf is not in build/npm; scripts/install-oracle brings it");
  process.exit(77);
}
const { gguf, GGMLQuantizationType } = await import(module);
const folder = mkdtempSync(join(tmpdir(), "quern-gguf-"));
let passed = 0, failed = 0;
const check = (what, ok, detail = "") => ok ? ++passed : (++failed, console.log("DIFFERS:", what, detail));
const text = (value) => JSON.stringify(value, (_, v) => typeof v === "bigint" ? Number(v) : v);

for (const type of ["auto", "F32", "F16", "Q8_0", "Q4_K_M", "Q6_K", "Q4_0"]) {
  const path = join(folder, "model.gguf");
  execFileSync(quern, ["convert", join(source, "testdata/kjv-4m"), "-t", type, "-o", path, "--force", "-q"]);
  const ours = JSON.parse(execFileSync(quern, ["inspect", path, "--json", "--full"], { maxBuffer: 1 << 28 }));
  const { metadata, tensorInfos } = await gguf(path, { allowLocalFile: true });
  const theirs = Object.entries(metadata).filter(([key]) => !["version", "tensor_count", "kv_count"].includes(key));
  check(`${type} key count`, theirs.length === ours.metadata.length, `${theirs.length} ${ours.metadata.length}`);
  for (const { key, value } of ours.metadata) {
    // f32 values travel as doubles on both sides; JSON of ours prints the shortest form
    const same = typeof value === "number" && !Number.isInteger(value)
      ? Math.fround(value) === Math.fround(metadata[key]) : text(value) === text(metadata[key]) ||
        (Array.isArray(value) && value.length === metadata[key].length &&
         value.every((v, i) => v === metadata[key][i] || Math.fround(Number(v)) === Number(metadata[key][i])));
    check(`${type} ${key}`, same, `${text(value)?.slice(0, 80)} ${text(metadata[key])?.slice(0, 80)}`);
  }
  check(`${type} tensor count`, tensorInfos.length === ours.tensors.length);
  tensorInfos.forEach((tensor, i) => {
    const mine = ours.tensors[i];
    check(`${type} ${tensor.name}`, mine.name === tensor.name && mine.type === GGMLQuantizationType[tensor.dtype] &&
      text([...mine.shape].reverse()) === text(tensor.shape), text(tensor));
  });
}
rmSync(folder, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
