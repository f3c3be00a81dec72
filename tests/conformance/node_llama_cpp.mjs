// node-llama-cpp, a real client of llama.cpp, loads our Q4_K_M file and goes on from a prompt.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const source = process.env.QUERN_SOURCE, quern = process.env.QUERN;
const module = join(source, "build/npm/node_modules/node-llama-cpp/dist/index.js");
if (!existsSync(module)) {
  console.log("skipped: node-llama-cpp is not in build/npm; scripts/install-oracle brings it");
  process.exit(77);
}
const { getLlama, LlamaCompletion } = await import(module);
const folder = mkdtempSync(join(tmpdir(), "quern-llama-"));
const path = join(folder, "kjv-4m-Q4_K_M.gguf");
execFileSync(quern, ["convert", join(source, "testdata/kjv-4m"), "-t", "Q4_K_M", "-o", path, "-q"]);
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error" });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({ contextSize: 256, threads: 1 });
const completion = new LlamaCompletion({ contextSequence: context.getSequence() });
const prompt = "In the beginning";
const line = await completion.generateCompletion(prompt, { maxTokens: 40, temperature: 0 });
console.log(prompt + line);
await llama.dispose();
rmSync(folder, { recursive: true });
const words = line.match(/[a-z]{2,}/gi) ?? [];
console.log(words.length >= 8 ? "1 passed, 0 failed" : "0 passed, 1 failed");
process.exit(words.length >= 8 ? 0 : 1);
