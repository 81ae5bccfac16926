// Prints what AsyncAPI's official parser says of a document: node check.js NODE_MODULES DOCUMENT
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, file] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Parser } = require("@asyncapi/parser");
const { AvroSchemaParser } = require("@asyncapi/avro-schema-parser");

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await parser.parse(readFileSync(file, "utf8"));
const found = diagnostics.map(({ severity, message, path }) => ({ severity, message, path: path.join("/") }));
const channels = document ? document.allChannels().all().map((channel) => channel.address()) : [];
process.stdout.write(JSON.stringify({ channels, found }));
