import { defineConfig } from 'vitest/config';

// Which suites run is decided by scripts/test and package.json (paths under test/); this file
// only bounds them. Root suites make kernel objects: scripts/root-tests.ts gives each file a machine.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: ['default'],
    passWithNoTests: false,
  },
});
