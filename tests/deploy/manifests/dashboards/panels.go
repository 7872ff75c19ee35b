// Package dashboards makes the Grafana dashboards in deploy/grafana/dashboards:
//
//	cd tests/deploy/manifests && go test ./dashboards -update
package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// source is the Prometheus that the variable at the top of each dashboard names.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}
}

// board begins a dashboard. The dashboards link to each other.
func board(uid, title, about string) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder("Framelog: "+title).Uid("framelog-"+uid).Description(about).
		Tags([]string{"framelog"}).Readonly().Refresh("10s").Time("now-1h", "now").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Framelog").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"framelog"}).KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"))
}

// choice is a variable whose values are those of a label.
func choice(label, metric string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(label).Datasource(source()).
		Query(dashboard.StringOrMap{String: new("label_values(" + metric + ", " + label + ")")}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc)
}

// query is a line of a panel for each series.
type query struct{ expr, legend string }

func (q query) over(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source()).Expr(q.expr).LegendFormat(q.legend).Range().RefId(refID(i))
}

func (q query) now(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source()).Expr(q.expr).LegendFormat(q.legend).Instant().RefId(refID(i))
}

func refID(i int) string { return string(rune('A' + i)) }

// limits colour a value: green, from warn on orange, from bad on red.
func limits(warn, bad float64) cog.Builder[dashboard.ThresholdsConfig] {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
		{Color: "green"}, {Value: &warn, Color: "orange"}, {Value: &bad, Color: "red"},
	})
}

// plain has no colours that tell good from bad.
func plain() cog.Builder[dashboard.ThresholdsConfig] {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{{Color: "blue"}})
}

// number is one number, a sixth of the page wide.
func number(title, unit, about string, colours cog.Builder[dashboard.ThresholdsConfig], q query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Description(about).Unit(unit).Span(4).Height(4).Datasource(source()).
		GraphMode(common.BigValueGraphModeNone).Thresholds(colours).NoValue("none").WithTarget(q.now(0))
}

// lines are series over time, half of the page wide.
func lines(title, unit, about string, qs ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(title).Description(about).Unit(unit).Span(12).Height(8).Datasource(source()).
		Min(0).FillOpacity(10).Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeTable).
		Placement(common.LegendPlacementRight).ShowLegend(true).Calcs([]string{"lastNotNull", "max"}))
	for i, q := range qs {
		p.WithTarget(q.over(i))
	}
	return p
}

// rows is a table of the labels and the value of each series, half of the page wide.
func rows(title, unit, about string, q query) *table.PanelBuilder {
	return table.NewPanelBuilder().Title(title).Description(about).Unit(unit).Span(12).Height(12).Datasource(source()).
		Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{})).
		NoValue("none").WithTarget(q.now(0).Format(prometheus.PromQueryFormatTable)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true, "__name__": true, "alertstate": true},
		}})
}

// cameraLink opens the dashboard of the camera in a row.
func cameraLink() []dashboard.DynamicConfigValue {
	return []dashboard.DynamicConfigValue{{Id: "links", Value: []map[string]any{{
		"title": "This camera", "url": "/d/framelog-camera?var-camera=${__value.raw}",
	}}}}
}

// quantile is a quantile of a histogram.
func quantile(q, histogram, by string) string {
	if by != "" {
		by = ", " + by
	}
	return "histogram_quantile(" + q + ", sum by (le" + by + ") (rate(" + histogram + "_bucket[$__rate_interval])))"
}
