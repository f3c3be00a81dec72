// node-llama-cpp, a real client of llama.cpp, tells a story from a converted llama2.c checkpoint.
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
const shared = process.env.QUERN_SHARED ?? join(source, "../shared");
const checkpoint = join(shared, "fixtures/llama2c/stories260K.bin");
if (!existsSync(checkpoint)) {
  console.log("skipped: no shared/ beside this clone");
  process.exit(77);
}
const { getLlama, LlamaCompletion } = await import(module);
const folder = mkdtempSync(join(tmpdir(), "quern-stories-"));
const path = join(folder, "stories.gguf");
execFileSync(quern, ["convert", checkpoint, "-t", "F32", "-o", path, "-q"]);
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error" });
const model = await llama.loadModel({ modelPath: path });
const context = await model.createContext({ contextSize: 256, threads: 1 });
const completion = new LlamaCompletion({ contextSequence: context.getSequence() });
const prompt = "Once upon a time";
const story = await completion.generateCompletion(prompt, { maxTokens: 120, temperature: 0 });
console.log(prompt + story);
await llama.dispose();
rmSync(folder, { recursive: true });
// The model writes the words of its training set or nothing that looks like English.
const found = ["there was", "little", " play", " she ", " he ", " was "].filter((w) => story.includes(w));
console.log(found.length >= 3 ? "1 passed, 0 failed" : "0 passed, 1 failed");
process.exit(found.length >= 3 ? 0 : 1);
