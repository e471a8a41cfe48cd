// Grafana's application tells its libraries which properties a field can have, and which transformations there are. Here that is done by
// hand, for those in use; a property that is missing here would be ignored without a word, so that is an error.

import {
  FieldConfigOptionsRegistry,
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';

const STANDARD = {
  unit: unitOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  decimals: numberOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  color: identityOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  noValue: stringOverrideProcessor,
  links: dataLinksOverrideProcessor,
};
const CUSTOM = [
  ...['axisBorderShow', 'cellOptions', 'fillBelowTo', 'fillOpacity', 'lineInterpolation', 'lineStyle', 'lineWidth', 'scaleDistribution'],
  ...['showPoints', 'spanNulls', 'stacking', 'width', 'align'],
];

function items() {
  const standard = Object.entries(STANDARD).map(([id, process]) => ({ id, path: id, process }));
  const custom = CUSTOM.map((path) => ({ id: `custom.${path}`, path, isCustom: true, process: identityOverrideProcessor }));
  return [...standard, ...custom].map((item) => ({ name: item.id, shouldApply: () => true, settings: {}, ...item }));
}

export function register() {
  standardFieldConfigEditorRegistry.setInit(items);
  const all = Object.values(standardTransformers);
  const once = all.filter((one, place) => all.findIndex(({ id }) => id === one.id) === place);
  const known = once.map((one) => ({ id: one.id, name: one.name, transformation: () => Promise.resolve(one) }));
  standardTransformersRegistry.setInit(() => known);
}

export function fieldConfigRegistry() {
  return new FieldConfigOptionsRegistry(items);
}

// Throw if a panel uses what is not registered.
export function mustBeKnown({ fieldConfig, transformations = [] }) {
  const { custom = {}, ...standard } = fieldConfig.defaults;
  const used = [
    ...Object.keys(standard),
    ...Object.keys(custom).map((key) => `custom.${key}`),
    ...fieldConfig.overrides.flatMap(({ properties }) => properties.map(({ id }) => id)),
  ];
  const unknown = used.filter((id) => !standardFieldConfigEditorRegistry.getIfExists(id));
  unknown.push(...transformations.map(({ id }) => id).filter((id) => !standardTransformersRegistry.getIfExists(id)));
  if (unknown.length) {
    throw new Error(`the viewer does not know ${unknown.join(', ')}`);
  }
}
