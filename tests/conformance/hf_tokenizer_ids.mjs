// Token ids of a text by Hugging Face's own JavaScript tokenizer: the oracle of hf_encoder_test.cc.
//   node hf_tokenizer_ids.mjs PACKAGES FOLDER TEXT_FILE [bare]
// PACKAGES is a node_modules folder that has @huggingface/tokenizers, FOLDER has a tokenizer.json,
// TEXT_FILE one JSON array of strings. `bare`: without begin and end tokens. Prints one JSON array
// of arrays of ids. Exit code 77: the package is not there.
import { readFileSync, existsSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [packages, folder, textFile, bare] = process.argv.slice(2);
const entry = `${packages}/@huggingface/tokenizers/dist/tokenizers.mjs`;
if (!existsSync(entry)) process.exit(77);
const { Tokenizer } = await import(pathToFileURL(entry));
const json = JSON.parse(readFileSync(`${folder}/tokenizer.json`, "utf8"));
const tokenizer = new Tokenizer(json, {});
const texts = JSON.parse(readFileSync(textFile, "utf8"));
const ids = texts.map((text) => tokenizer.encode(text, { add_special_tokens: bare !== "bare" }).ids);
process.stdout.write(JSON.stringify(ids));
