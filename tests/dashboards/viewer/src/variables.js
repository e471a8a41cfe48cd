// What Grafana fills in for $name and ${name}. Menus that offer "All" stand at all; of others the first value is taken, as Grafana does.

const VARIABLE = /\$(?:\{(\w+)(?::\w+)?\}|(\w+))/g;
const LABEL_VALUES = /^label_values\((.+), (\w+)\)$/;

export function substitute(text, values) {
  return text.replace(VARIABLE, (whole, braced, plain) => values[braced ?? plain] ?? whole);
}

// Choose a value for each menu, in their order: later ones depend on earlier ones. `asked` are parameters of the page, var-NAME=VALUE.
export async function choose(menus, builtIn, asked, prometheus) {
  const values = { ...builtIn };
  for (const menu of menus) {
    const wanted = asked.get(`var-${menu.name}`);
    if (wanted !== null) {
      values[menu.name] = wanted;
    } else if (menu.type === 'query') {
      const [, selector, label] = menu.query.query.match(LABEL_VALUES);
      const found = await prometheus.labelValues(substitute(selector, values), label);
      if (found.length === 0) {
        throw new Error(`the menu ${menu.name} is empty`);
      }
      values[menu.name] = menu.includeAll ? menu.allValue : found[0];
    } else {
      values[menu.name] = menu.current?.value ?? '';
    }
  }
  return values;
}
