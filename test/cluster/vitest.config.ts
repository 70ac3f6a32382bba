/** `npm run test:cluster`: apart from the other projects, for it needs what few machines have (main.ts). */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    name: "cluster",
    include: ["test/cluster/**/*.test.ts"],
    testTimeout: 90_000,
    hookTimeout: 90_000,
    maxWorkers: 2, // each file has a stand of its own, three servers, and the chaos waits more than it computes
  },
});
