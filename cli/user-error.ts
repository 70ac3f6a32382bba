/** How a command ends: its exit code, and the message to the user when it cannot go on. */

/** 0: success. 1: the command ran, and something is wrong. 2: command line or configuration. 3: not reached. */
export type ExitCode = 0 | 1 | 2 | 3 | 130;

/** Ends a command with a message to the user: 2 for what they can change, 3 for what could not be reached. */
export class UserError extends Error {
  override readonly name = "UserError";
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode = 2, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
