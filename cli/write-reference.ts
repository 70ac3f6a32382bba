/** `npm run docs:cli`: writes docs/cli.md, the help of every command. A test keeps the file as the commands are. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { commands } from "./commands.ts";
import { referenceText } from "./help-text.ts";

writeFileSync(join(import.meta.dirname, "..", "docs", "cli.md"), referenceText(commands));
