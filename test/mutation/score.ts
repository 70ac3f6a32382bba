/** How many of the mutants are caught, and how sure a sample makes of it. */

/** Wilson's interval of a share at 95 %: `caught` of `tried`, both bounds from 0 to 1. */
export function wilson(caught: number, tried: number): { readonly least: number; readonly most: number } {
  if (tried === 0) {
    return { least: 0, most: 1 };
  }
  const z = 1.959964; // the normal distribution has 95 % between -z and z
  const share = caught / tried;
  const middle = share + z ** 2 / (2 * tried);
  const spread = z * Math.sqrt((share * (1 - share)) / tried + z ** 2 / (4 * tried ** 2));
  const whole = 1 + z ** 2 / tried;
  return { least: (middle - spread) / whole, most: (middle + spread) / whole };
}
