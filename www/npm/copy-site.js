#!/usr/bin/env node
// Copies the engine's files to where a site serves static files from:
//   npx huggingtweets-tweet-bot [FOLDER]     by default public/tweet-bot
import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = process.argv[2] ?? "public/tweet-bot";
cpSync(fileURLToPath(new URL("./site", import.meta.url)), folder, { recursive: true });
console.log(`The engine of <tweet-bot> is in ${folder}`);
