package camsim

// Size of a glyph in dots; there is one empty column between two glyphs.
const (
	glyphWidth  = 5
	glyphHeight = 7
)

// glyph is a character's dots: seven rows, five bits each, the leftmost dot in
// bit 4. Other characters are a full block.
func glyph(r rune) [glyphHeight]byte {
	switch r {
	case '0':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110}
	case '1':
		return [glyphHeight]byte{0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110}
	case '2':
		return [glyphHeight]byte{0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111}
	case '3':
		return [glyphHeight]byte{0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110}
	case '4':
		return [glyphHeight]byte{0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010}
	case '5':
		return [glyphHeight]byte{0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110}
	case '6':
		return [glyphHeight]byte{0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110}
	case '7':
		return [glyphHeight]byte{0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000}
	case '8':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110}
	case '9':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100}
	case ':':
		return [glyphHeight]byte{0b00000, 0b00100, 0b00100, 0b00000, 0b00100, 0b00100, 0b00000}
	case '.':
		return [glyphHeight]byte{0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100}
	case '-':
		return [glyphHeight]byte{0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000}
	case ' ':
		return [glyphHeight]byte{0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b00000}
	case 'A':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001}
	case 'B':
		return [glyphHeight]byte{0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110}
	case 'C':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110}
	case 'D':
		return [glyphHeight]byte{0b11100, 0b10010, 0b10001, 0b10001, 0b10001, 0b10010, 0b11100}
	case 'E':
		return [glyphHeight]byte{0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111}
	case 'F':
		return [glyphHeight]byte{0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000}
	case 'G':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01111}
	case 'H':
		return [glyphHeight]byte{0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001}
	case 'I':
		return [glyphHeight]byte{0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110}
	case 'J':
		return [glyphHeight]byte{0b00111, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100}
	case 'K':
		return [glyphHeight]byte{0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001}
	case 'L':
		return [glyphHeight]byte{0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111}
	case 'M':
		return [glyphHeight]byte{0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001}
	case 'N':
		return [glyphHeight]byte{0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001}
	case 'O':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110}
	case 'P':
		return [glyphHeight]byte{0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000}
	case 'Q':
		return [glyphHeight]byte{0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101}
	case 'R':
		return [glyphHeight]byte{0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001}
	case 'S':
		return [glyphHeight]byte{0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110}
	case 'T':
		return [glyphHeight]byte{0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100}
	case 'U':
		return [glyphHeight]byte{0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110}
	case 'V':
		return [glyphHeight]byte{0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100}
	case 'W':
		return [glyphHeight]byte{0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001}
	case 'X':
		return [glyphHeight]byte{0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001}
	case 'Y':
		return [glyphHeight]byte{0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100}
	case 'Z':
		return [glyphHeight]byte{0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111}
	}
	return [glyphHeight]byte{0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111, 0b11111}
}

// drawText writes text into a luma plane with dots of scale pixels. The text
// must fit.
func drawText(luma []byte, stride, x, y, scale int, value byte, text string) {
	for _, r := range text {
		for row, bits := range glyph(r) {
			for col := range glyphWidth {
				if bits>>(glyphWidth-1-col)&1 == 0 {
					continue
				}
				for dy := range scale {
					at := (y+row*scale+dy)*stride + x + col*scale
					for dx := range scale {
						luma[at+dx] = value
					}
				}
			}
		}
		x += (glyphWidth + 1) * scale
	}
}

// textWidth is the width of text in pixels.
func textWidth(text string, scale int) int {
	n := len([]rune(text))
	return (n*(glyphWidth+1) - 1) * scale
}
