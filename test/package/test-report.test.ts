import { expect, test } from 'vitest';
import { countTests, summaryLine } from '../../scripts/lib/test-report.mjs';

const file = (status: string, ...tests: string[]) => ({
  status,
  assertionResults: tests.map((each) => ({ status: each })),
});

test('tests are counted over all files', () => {
  const report = { testResults: [file('passed', 'passed', 'passed', 'skipped'), file('failed', 'failed', 'passed')] };
  const counts = countTests(report, 1);
  expect(counts).toEqual({ passed: 3, failed: 1, skipped: 1 });
  expect(summaryLine(counts)).toBe('3 passed, 1 failed, 1 skipped');
  expect(summaryLine({ ...counts, skipped: 0 })).toBe('3 passed, 1 failed');
});

test('a file that could not be loaded is a failure', () => {
  expect(countTests({ testResults: [file('failed'), file('passed', 'passed')] }, 1)).toMatchObject({
    passed: 1,
    failed: 1,
  });
});

test('a run that failed never reads as one without failures', () => {
  expect(countTests({ testResults: [file('passed', 'passed')] }, 1).failed).toBe(1);
  expect(countTests(undefined, 0).failed).toBe(1);
  expect(countTests({ testResults: [file('passed', 'passed')] }, 0).failed).toBe(0);
});
