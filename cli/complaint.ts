/** How a command ends: its exit code, and the sentence for the person when it cannot go on. */

/** 0: well. 1: the command worked, and its answer is bad news. 2: the command line or set-up. 3: not reached. */
export type ExitCode = 0 | 1 | 2 | 3 | 130;

/** The end of a command with a sentence for the person: 2 for what they can change, 3 for what was not reached. */
export class Complaint extends Error {
  override readonly name = "Complaint";
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode = 2, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
