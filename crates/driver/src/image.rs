//! PNG files as inputs.

use mlc_eval::Array;
use mlc_tensor::DType;

/// Reads an image as `[1, channels, height, width]` with values 0 to 255: one channel for grey
/// images, three for colour; transparency is dropped.
///
/// # Errors
/// The bytes are no PNG file.
pub(crate) fn read_png(bytes: &[u8]) -> Result<Array, String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let size = reader.output_buffer_size().ok_or("the image is too large")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(|e| e.to_string())?;
    let (width, height) = (frame.width as usize, frame.height as usize);
    let samples = frame.color_type.samples();
    let channels = if samples < 3 { 1 } else { 3 };
    let mut values = Vec::with_capacity(channels * width * height);
    for channel in 0..channels {
        for row in pixels.chunks(frame.line_size).take(height) {
            values.extend(row.chunks(samples).take(width).map(|pixel| f32::from(pixel[channel])));
        }
    }
    Array::from_f32s(DType::F32, &[1, channels, height, width], values).map_err(|e| e.to_string())
}
