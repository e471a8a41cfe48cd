// The four kinds of panels, drawn by Grafana's own components.

import { FieldType, cacheFieldDisplayNames, getDisplayValueAlignmentFactors, getFieldDisplayValues } from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, useTheme2 } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const SPACING = 8;

export function Visual({ panel, frames, ...box }) {
  const Kind = { timeseries: Lines, stat: Figures, bargauge: Bars, table: Rows }[panel.type];
  return <Kind panel={panel} frames={frames} {...box} />;
}

function Lines({ panel, frames, timeRange, width, height }) {
  cacheFieldDisplayNames(frames);
  const { options } = panel;
  return <TimeSeries timeZone="utc" legend={options.legend} {...{ frames, timeRange, options, width, height }} />;
}

function Figures({ panel, frames, width, height }) {
  const theme = useTheme2();
  const values = displayed(panel, frames, theme);
  const each = (width - SPACING * (values.length - 1)) / values.length;
  const { colorMode, graphMode, justifyMode, textMode, wideLayout, text } = panel.options;
  return (
    <div style={{ display: 'flex', gap: SPACING }}>
      {values.map(({ display }, place) => (
        <BigValue
          key={place}
          value={display}
          width={each}
          height={height}
          theme={theme}
          count={values.length}
          alignmentFactors={getDisplayValueAlignmentFactors(values)}
          disableWideLayout={!wideLayout}
          {...{ colorMode, graphMode, justifyMode, textMode, text }}
        />
      ))}
    </div>
  );
}

function Bars({ panel, frames, width, height }) {
  const theme = useTheme2();
  const values = displayed(panel, frames, theme);
  const { displayMode, showUnfilled, valueMode, namePlacement, orientation, minVizHeight, maxVizHeight } = panel.options;
  const each = Math.max(minVizHeight, Math.min(maxVizHeight, (height - SPACING * (values.length - 1)) / values.length));
  return (
    <div style={{ display: 'flex', flexDirection: 'column', gap: SPACING }}>
      {values.map(({ display, field }, place) => (
        <BarGauge
          key={place}
          value={display}
          field={field}
          width={width}
          height={each}
          theme={theme}
          itemSpacing={SPACING}
          alignmentFactors={getDisplayValueAlignmentFactors(values)}
          valueDisplayMode={valueMode}
          {...{ displayMode, showUnfilled, namePlacement, orientation }}
        />
      ))}
    </div>
  );
}

function Rows({ panel, frames: [frame], width, height }) {
  cacheFieldDisplayNames([frame]);
  const { cellHeight, sortBy } = panel.options;
  return <TableNG data={frame} width={width} height={height} cellHeight={cellHeight} sortBy={sortBy} enableVirtualization={false} />;
}

function displayed(panel, frames, theme) {
  const numbers = frames.filter(({ fields }) => fields.some(({ type }) => type === FieldType.number));
  return getFieldDisplayValues({
    data: numbers,
    reduceOptions: panel.options.reduceOptions,
    fieldConfig: panel.fieldConfig,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
}
